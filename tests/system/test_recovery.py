"""Tasks decide what follows when others end; one that does not is not waited for."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.system.shell import ask, at_prompt, leave
from tests.system.supervisor import Supervisor, Terminal

SYSTEM = Path(__file__).with_name("recovery.toml")
LOST = "ServerDied"


@pytest.fixture
def terminal(sel4py: Supervisor) -> Terminal:
    return at_prompt(sel4py, SYSTEM)


def life(terminal: Terminal, name: str) -> int:
    """The process that serves, as it says itself."""
    shown = ask(terminal, f"call {name} life")
    found = re.search(r"\n(\d+)\r", shown)
    assert found, shown
    return int(found[1])


def test_a_task_has_a_server_started_at_once_that_its_policy_would_keep_away(
    terminal: Terminal, sel4py: Supervisor
) -> None:
    lives = {life(terminal, "quick")}
    for _ in range(3):
        assert LOST in ask(terminal, "call quick leave 3")
        lives.add(life(terminal, "quick"))
    assert len(lives) == 4
    assert "quick ended along 0: ended with status 3" in sel4py.ok("logs", "prompt")
    assert re.search(r"quick +running .* 3 .*ended with status 3", ask(terminal, "ps"))
    leave(terminal)


def test_a_task_has_a_server_stay_down_and_its_clients_told(terminal: Terminal) -> None:
    life(terminal, "left")
    assert LOST in ask(terminal, "call left leave 3")
    while "left by stern" not in (shown := ask(terminal, "ps")):
        assert "left" in shown
    assert "InvalidCapability" in ask(terminal, "call left life")
    ask(terminal, "start left")
    while not re.search(r"left +running .* 1 .*ended with status 3", ask(terminal, "ps")):
        continue
    leave(terminal)


def test_a_task_has_a_whole_group_begin_anew(terminal: Terminal) -> None:
    one, two = life(terminal, "one"), life(terminal, "two")
    assert LOST in ask(terminal, "call one leave 3")
    assert life(terminal, "one") != one
    assert life(terminal, "two") != two
    leave(terminal)


@pytest.mark.parametrize(("name", "medic"), [("forgotten", "mute"), ("abandoned", "mortal_medic")])
def test_one_that_hangs_or_dies_of_a_case_is_not_waited_for(
    terminal: Terminal, sel4py: Supervisor, name: str, medic: str
) -> None:
    told = False
    while not told:  # it may be told too late, on a busy machine or while it starts
        before = life(terminal, name)
        assert LOST in ask(terminal, f"call {name} leave 3")
        assert life(terminal, name) != before
        told = f"{name} ended along 0" in sel4py.ok("logs", medic)
    leave(terminal)


def test_a_supervisor_that_dies_keeps_nobody_away(terminal: Terminal, sel4py: Supervisor) -> None:
    """Root holds what was held, for as long; and the tasks that recover ask its next life."""
    quick, forgotten = life(terminal, "quick"), life(terminal, "forgotten")
    assert LOST in ask(terminal, "call forgotten leave 3")
    sel4py.ok("kill", "reincarnation")
    assert life(terminal, "forgotten") != forgotten
    assert LOST in ask(terminal, "call quick leave 3")
    assert life(terminal, "quick") != quick
    leave(terminal)
