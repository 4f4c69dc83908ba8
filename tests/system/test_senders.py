"""A server is told when nobody can use a session any more, whoever held it, and how often it was handed out."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Mapping
from pathlib import Path

import pytest

from deploy.management import Management
from tests.system.shell import ask, at_prompt, leave
from tests.system.supervisor import Supervisor, Terminal

SYSTEM = Path(__file__).with_name("senders.toml")


@pytest.fixture
def terminal(sel4py: Supervisor) -> Terminal:
    return at_prompt(sel4py, SYSTEM)


def number(terminal: Terminal, line: str) -> int:
    found = re.search(r"\n(\d+)\r", shown := ask(terminal, line))
    assert found, shown
    return int(found[1])


def left(terminal: Terminal) -> int:
    """How many sessions the server was told of, each handed out once."""
    found = re.search(r"\n\[((1,?)*)\]\r", shown := ask(terminal, "call keeper left"))
    assert found, shown
    return found[1].count("1")


def kill(sel4py: Supervisor, terminal: Terminal, name: str) -> None:
    """It is killed, and its next life answers, which holds nothing; the former may still be asked, and die of it."""
    sel4py.ok("kill", name)
    while not re.search(r"\n0\r", ask(terminal, f"call {name} held")):
        continue


def test_MACH12_a_client_that_is_killed_is_the_last_sender(terminal: Terminal, sel4py: Supervisor) -> None:
    for told in (1, 2):
        assert number(terminal, "call holder fetch") == 1
        assert left(terminal) == told - 1
        kill(sel4py, terminal, "holder")
        while left(terminal) != told:
            continue
    leave(terminal)


def test_MACH12_one_that_was_given_on_holds_it_off(terminal: Terminal, sel4py: Supervisor) -> None:
    assert number(terminal, "call holder fetch") == 1
    assert number(terminal, "call holder give") == 1
    kill(sel4py, terminal, "holder")
    assert number(terminal, "call holder fetch") == 1
    assert number(terminal, "call holder drop") == 0
    while left(terminal) != 1:  # of the second session: the first is held still
        continue
    assert left(terminal) == 1
    kill(sel4py, terminal, "friend")
    while left(terminal) != 2:
        continue
    leave(terminal)


def test_MACH12_a_kernel_that_is_killed_meanwhile_tells_all_the_same(terminal: Terminal, sel4py: Supervisor) -> None:
    """The next one finds in RAM who watches."""
    assert number(terminal, "call holder fetch") == 1
    with Management(sel4py.folder / SYSTEM.stem) as management:
        status = management.request("status")
    assert isinstance(status, Mapping)
    os.kill(int(status["pid"]), signal.SIGKILL)
    kill(sel4py, terminal, "holder")
    while left(terminal) != 1:
        continue
    assert '"kernel_restarts": 1' in sel4py.ok("inspect", "kernel", "--json")
    leave(terminal)
