"""Servers end in each way that there is, and the reincarnation server with them: the shell goes on."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import pytest

from deploy.management import Management
from libsel4py.heartbeats import INIT_SECONDS
from tests.system.shell import ask, at_prompt, leave
from tests.system.supervisor import Supervisor, Terminal

SYSTEM = Path(__file__).with_name("supervised.toml")
HEARTBEAT = 0.5
HUNG_SECONDS = 3 * HEARTBEAT + 4  # and what a busy machine adds
KILLS = 20
LOST = "ServerDied"


@pytest.fixture
def terminal(sel4py: Supervisor) -> Terminal:
    return at_prompt(sel4py, SYSTEM)


def life(terminal: Terminal, name: str = "mortal") -> int:
    """The process that serves, as it says itself. A request that its predecessor had taken is lost, and made again."""
    while LOST in (shown := ask(terminal, f"call {name} life")):
        continue
    found = re.search(r"\n(\d+)\r", shown)
    assert found, shown
    return int(found[1])


def pid(sel4py: Supervisor, name: str) -> int:
    (row,) = [row for row in sel4py.rows("ps") if row["name"] == name]
    return int(str(row["pid"]))


@pytest.mark.parametrize(
    ("order", "cause"),
    [
        ("leave 3", "ended with status 3"),
        ("leave 0", "ended"),
        ("touch_nothing", "ended with status 139"),
        ("call_nobody", "thread 0: capability fault while sending"),
        ("turn", "hung: it answers no heartbeats"),
    ],
)
def test_each_way_to_end_is_noticed_and_followed_by_a_new_life(terminal: Terminal, order: str, cause: str) -> None:
    """The caller is told that its request is lost, within a bounded time, and the next one is answered."""
    before, above = life(terminal), life(terminal, "above")
    start = time.monotonic()
    assert LOST in ask(terminal, f"call mortal {order}")
    took = time.monotonic() - start
    assert life(terminal) != before
    assert life(terminal, "above") != above  # the rest of its group
    assert took < HUNG_SECONDS
    shown = ask(terminal, "log mortal")
    assert cause in shown
    assert "started again (1)" in shown
    leave(terminal)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_signal_of_the_hosts_is_an_end_too(terminal: Terminal, sel4py: Supervisor, number: signal.Signals) -> None:
    """A stopped process holds its requests, and is found by its heartbeats."""
    before = life(terminal)
    os.kill(pid(sel4py, "mortal"), number)
    start = time.monotonic()
    while (now := life(terminal)) == before:
        assert number == signal.SIGKILL  # the host had not ended it yet; one that is stopped answers nothing
    assert now != before
    assert time.monotonic() - start < HUNG_SECONDS
    leave(terminal)


def test_a_supervisor_that_hangs_keeps_nobody_away(terminal: Terminal, sel4py: Supervisor) -> None:
    """Root asks it, and starts it again; it then finds whose end it was not told of."""
    before, stopped = life(terminal), pid(sel4py, "reincarnation")
    os.kill(stopped, signal.SIGSTOP)
    os.kill(pid(sel4py, "mortal"), signal.SIGKILL)
    start = time.monotonic()
    while life(terminal) == before:
        continue  # the host had not ended it yet
    assert time.monotonic() - start < INIT_SECONDS + HUNG_SECONDS
    assert pid(sel4py, "reincarnation") != stopped
    assert re.search(r"reincarnation +running .* hung", ask(terminal, "ps"))
    leave(terminal)


def test_what_cannot_live_is_given_up(terminal: Terminal) -> None:
    while "given up" not in (shown := ask(terminal, "log stillborn")):
        assert "started again (4)" not in shown
    assert "given up after 3 restarts within 10 s" in shown
    assert re.search(r"stillborn +dead: ended with status 1", ask(terminal, "ps"))
    assert "stillborn" in ask(terminal, "call supervision supervised")
    leave(terminal)


def test_a_new_life_has_all_that_its_description_gives_though_the_former_one_deleted_it(terminal: Terminal) -> None:
    given = ask(terminal, "caps mortal").partition("\n")[2]
    ask(terminal, "call mortal empty")
    assert ask(terminal, "caps mortal").partition("\n")[2].count("\n") < given.count("\n")
    ask(terminal, "call mortal leave 3")
    life(terminal)
    assert ask(terminal, "caps mortal").partition("\n")[2] == given
    leave(terminal)


def test_orders_stop_start_and_begin_anew(terminal: Terminal, sel4py: Supervisor) -> None:
    """And a later life of the reincarnation server does not carry them out again."""
    first = life(terminal)
    ask(terminal, "stop mortal")
    while not re.search(r"mortal +dead: .*stopped by order", shown := ask(terminal, "ps")):
        assert "mortal" in shown
    ask(terminal, "start mortal")
    second = life(terminal)
    ask(terminal, "restart mortal")
    while (third := life(terminal)) == second:
        continue
    assert len({first, second, third}) == 3
    sel4py.ok("kill", "reincarnation")
    while "started again (1)" not in ask(terminal, "log reincarnation"):
        continue
    assert '"name":"mortal"' in ask(terminal, "call supervision supervised")  # it serves: it has looked at all
    assert life(terminal) == third
    leave(terminal)


def test_the_reincarnation_server_is_killed_again_and_again_while_others_are(
    terminal: Terminal, sel4py: Supervisor
) -> None:
    """What it is to be told of waits for it, and what it had been told of it finds in root's records."""
    lives = {life(terminal)}
    folder = sel4py.folder / "supervised"
    for number in range(KILLS):
        with Management(folder) as management:
            victims = ("mortal", "reincarnation") if number % 2 else ("reincarnation", "mortal")
            for name in victims:
                management.request("kill", task=name)
        while (now := life(terminal)) in lives:  # the host takes a moment to end a process
            continue
        lives.add(now)
        while LOST in ask(terminal, "call supervision supervised"):  # nor is it killed before it has begun again
            continue
    shown = ask(terminal, "ps")
    assert re.search(rf"reincarnation +running .* {KILLS} ", shown), shown
    assert re.search(rf"mortal +running .* {KILLS} ", shown), shown
    leave(terminal)
