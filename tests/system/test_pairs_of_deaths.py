"""Who restarts others, who decides on it, and those that it is about die in pairs, at random moments of each other's
recovery, while a client calls: each call ends, what may be repeated happens once, and nothing is left behind.

`test_kill_anything.py` kills the servers of a workstation so; here they depend on each other, and one decides on both.
"""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import pytest

from tests.system.kill_scene import Leftovers
from tests.system.shell import ask, at_prompt, leave
from tests.system.supervisor import PROMPT, Supervisor

SYSTEM = Path(__file__).with_name("pairs.toml")
SEED = 20
PAIRS = [
    pair
    for pair in itertools.permutations(("reincarnation", "medic", "below", "above"), 2)
    if set(pair) != {"reincarnation", "medic"}
] + [("reincarnation", "medic")]
KILLS = 15
MANY = 200
ROUNDS = 500
LINE = f"call client insist {ROUNDS}"


def storm(sel4py: Supervisor, kills: int) -> None:
    chance = random.Random(SEED)
    terminal = at_prompt(sel4py, SYSTEM)
    scene = Leftovers(sel4py.folder / SYSTEM.stem, terminal)
    for pair in PAIRS:  # what is made once, for the first death of each, is there
        scene.kill(pair, chance)
        assert "all right" in ask(terminal, LINE)
    before = scene.left()
    for number in range(kills):
        terminal.type(LINE.encode() + b"\r")
        terminal.until(LINE.encode())
        scene.kill(pair := chance.choice(PAIRS), chance)
        shown = terminal.until(PROMPT).decode()
        assert "all right" in shown, f"kill {number}, of {pair}: {shown}"
    assert "all right" in ask(terminal, LINE)
    scene.assert_left(before)
    assert sel4py.ok("fsck")
    leave(terminal)


@pytest.mark.timeout(600)
def test_pairs_die_and_every_call_ends(sel4py: Supervisor) -> None:
    storm(sel4py, KILLS)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_two_hundred_pairs_die_and_every_call_ends(sel4py: Supervisor) -> None:
    storm(sel4py, MANY)
