"""What stands by for a server is killed itself, and before it has come to stand by; and is hostile."""

from __future__ import annotations

import os
import signal

import pytest

from deploy.management import Management
from tests.system.supervisor import PROMPT, Supervisor, Terminal
from tests.system.test_reincarnation import SYSTEM, ask, leave, life

SERVER, STANDBY = "mortal", "mortal.standby"
KILLS = 5


@pytest.fixture
def terminal(sel4py: Supervisor) -> Terminal:
    terminal = sel4py.terminal("up", SYSTEM)
    terminal.until(PROMPT)
    return terminal


def pids(sel4py: Supervisor, name: str) -> list[int]:
    """Of the processes of this name that do not end just now."""
    with Management(sel4py.folder / "supervised") as management:
        rows: list[dict[str, object]] = management.request("ps")  # type: ignore[assignment]  # rows of plain values
    return [int(str(row["pid"])) for row in rows if row["name"] == name and row["state"] != "ENDING" and row["pid"]]


def standby(sel4py: Supervisor, *but: int) -> int:
    """The process that stands by, once there is one beside these."""
    while not (found := [pid for pid in pids(sel4py, STANDBY) if pid not in but]):
        continue
    return found[0]


def test_what_stands_by_takes_over_and_is_made_again_when_it_is_killed(terminal: Terminal, sel4py: Supervisor) -> None:
    """And a hostile one reaches nothing of its task's: neither does its word count, that all is done."""
    usurped, first, second = life(terminal, "usurped"), life(terminal), standby(sel4py)
    os.kill(second, signal.SIGKILL)
    third = standby(sel4py, second)
    (server,) = pids(sel4py, SERVER)
    os.kill(server, signal.SIGKILL)
    while life(terminal) == first:
        continue
    assert pids(sel4py, SERVER) == [third]
    standby(sel4py, second, third)
    shown = ask(terminal, "log mortal")
    assert "what stood by for it has ended, and is made again" in shown
    assert "started again (1)" in shown
    while "has ended again and again" not in ask(terminal, "log usurped"):
        continue
    assert life(terminal, "usurped") == usurped
    (server,) = pids(sel4py, "usurped")
    os.kill(server, signal.SIGKILL)
    while life(terminal, "usurped") == usurped:
        continue
    leave(terminal)


@pytest.mark.slow
def test_one_that_has_just_taken_over_is_killed_and_so_are_all_at_once(terminal: Terminal, sel4py: Supervisor) -> None:
    """Whether another one stands by already or not."""
    lives = {life(terminal)}
    for number in range(KILLS):
        victims = pids(sel4py, SERVER) + (pids(sel4py, STANDBY) if number % 2 else [])
        for victim in victims:
            os.kill(victim, signal.SIGKILL)
        while (now := life(terminal)) in lives:
            continue
        lives.add(now)
    assert len(lives) == KILLS + 1
    leave(terminal)
