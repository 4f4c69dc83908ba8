"""A task complains of a server that answers wrongly: that is started again, and nobody is kept down by it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.system.shell import ask, at_prompt, leave
from tests.system.supervisor import Supervisor, Terminal

SYSTEM = Path(__file__).with_name("complaints.toml")
MOST = 5  # half of the intensity of the liar's group, whose period is longer than any test
STORM = 300


@pytest.fixture
def terminal(sel4py: Supervisor) -> Terminal:
    return at_prompt(sel4py, SYSTEM)


def number(terminal: Terminal, line: str) -> int:
    shown = ask(terminal, line)
    found = re.search(r"\n(\d+)\r", shown)
    assert found, shown
    return int(found[1])


def test_the_sdk_complains_of_an_answer_that_does_not_decode(terminal: Terminal) -> None:
    """And the server's next life says the truth, with what is above it begun anew."""
    before, above = number(terminal, "call liar life"), number(terminal, "call above life")
    assert "truth" in ask(terminal, "call judge ask")
    ask(terminal, "call liar lie")
    assert "wrong: the result of Lying.say does not decode" in ask(terminal, "call judge ask")
    assert "truth" in ask(terminal, "call judge ask")
    assert number(terminal, "call liar life") != before
    assert number(terminal, "call above life") != above
    assert re.search(r"liar +running .* 1 .*complaint by judge: the result", ask(terminal, "ps"))
    assert "complaint by judge" in ask(terminal, "log liar")
    leave(terminal)


def test_who_may_not_complain_complains_in_vain(terminal: Terminal) -> None:
    """Another client of the liar's gets the same wrong answer, and the judge may complain of nobody else."""
    before = number(terminal, "call liar life")
    ask(terminal, "call liar lie")
    assert "does not decode" in ask(terminal, "call liar say")
    assert "does not let judge complain of 'above'" in ask(terminal, "call judge life above")
    assert "does not let judge complain of 'above'" in ask(terminal, "call judge complain above 1")
    assert "does not let judge complain of 'none'" in ask(terminal, "call judge complain none 1")
    assert number(terminal, "call liar life") == before
    leave(terminal)


def test_a_late_complaint_does_not_hit_the_successor(terminal: Terminal, sel4py: Supervisor) -> None:
    process, life = number(terminal, "call liar life"), number(terminal, "call judge life liar")
    sel4py.ok("kill", "liar")
    while (successor := number(terminal, "call liar life")) == process:
        continue  # the host had not ended it yet
    assert "late" in ask(terminal, f"call judge complain liar {life}")
    assert number(terminal, "call liar life") == successor
    assert number(terminal, "call judge life liar") == life + 1
    assert "ended" in ask(terminal, f"call judge complain liar {life + 1}")
    assert "late" in ask(terminal, f"call judge complain liar {life + 1}")  # one complaint a life
    assert number(terminal, "call judge life liar") == life + 2
    leave(terminal)


def test_a_complainer_keeps_nobody_down(terminal: Terminal) -> None:
    """It complains of each life as soon as it may, and then again and again: the server serves, and is not given up."""
    shown = ask(terminal, f"call judge storm {STORM}")
    found = re.search(r"ended (\d+) of (\d+), late 0", shown)
    assert found, shown
    assert 1 <= int(found[1]) <= MOST
    assert int(found[2]) == STORM
    assert "truth" in ask(terminal, "call liar say")
    shown = ask(terminal, "ps")
    assert re.search(rf"liar +running .* {found[1]} .*complaint by judge: \?\[2J", shown), shown
    leave(terminal)
