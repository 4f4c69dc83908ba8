"""Servers of `workstation` are killed while they are used: they come back, and the shell goes on."""

from __future__ import annotations

import re
import time

import pytest

from servers.network.stack import is_built
from tests.system.shell import leave
from tests.system.supervisor import PROMPT, Supervisor, Terminal

KILLED = ("serial", "console", "names")
ROUNDS = 3
CALLS = 3
FOUND_OUT_SECONDS = 30.0  # it is told at once, and then waits for the next life


@pytest.fixture
def terminal(sel4py: Supervisor) -> Terminal:
    terminal = sel4py.terminal("up", "workstation")
    terminal.until(PROMPT)
    return terminal


def ask(terminal: Terminal, line: str, answer: str) -> str:
    """Types a line; the shell's answer, which must contain this, and after which it asks for the next line."""
    terminal.type(line.encode() + b"\r")
    shown = terminal.until(answer.encode()) + terminal.until(PROMPT)
    return shown.decode()


def states(sel4py: Supervisor) -> dict[object, tuple[object, ...]]:
    """State, threads and restarts of each task, as root tells them to the shell's twin on the management socket."""
    return {row["name"]: (row["threads"], row["restarts"]) for row in sel4py.rows("ps")}


def test_the_shell_goes_on_when_it_kills_what_it_stands_on(terminal: Terminal) -> None:
    for number in range(1, ROUNDS + 1):
        for name in KILLED:
            ask(terminal, f"kill {name}", f"{name} was ended")
            ask(terminal, f"call pong ping {number}", f"\n{number}\r")
    shown = ask(terminal, "ps", "apps.shell.main")
    for name in KILLED:
        threads = 2 if name == "console" else 1
        assert re.search(rf"{name} +running +\d+ +{threads} +\S+ +{ROUNDS} ", shown), shown
    leave(terminal)


@pytest.mark.parametrize("name", KILLED)
def test_a_server_killed_from_outside_comes_back_to_clients_that_wait_for_it(
    terminal: Terminal, sel4py: Supervisor, name: str
) -> None:
    """The shell waits in the console for a line, and the console in the serial driver for a byte."""
    for number in range(1, CALLS + 1):
        sel4py.ok("kill", name)
        if name == "console":
            terminal.until(PROMPT)  # its successor was asked for the same line again, and shows it anew
        ask(terminal, f"call pong ping {number}", f"\n{number}\r")
    ask(terminal, f"log {name}", f"started again ({CALLS})")
    leave(terminal)


def test_what_was_typed_before_the_serial_driver_died_is_still_in_the_line(
    terminal: Terminal, sel4py: Supervisor
) -> None:
    terminal.type(b"call pong pi")
    terminal.until(b"call pong pi")
    sel4py.ok("kill", "serial")
    ask(terminal, "ng 42", "\n42\r")
    leave(terminal)


def test_the_line_being_typed_and_what_is_typed_ahead_survive_the_console(
    terminal: Terminal, sel4py: Supervisor
) -> None:
    """Some characters, a death, the next ones; and lines that nobody has read yet."""
    for characters in (b"call", b" pong", b" pi", b"ng", b" 4"):
        terminal.type(characters)
        terminal.until(characters)
        sel4py.ok("kill", "console")
        terminal.until(PROMPT)
    ask(terminal, "2", "\n42\r")
    terminal.type(b"call pong ping 1\rcall pong ping 2\rcall pong ping 3\r")
    sel4py.ok("kill", "console")
    sel4py.ok("kill", "serial")
    sel4py.ok("kill", "console")
    for number in (1, 2, 3):
        terminal.until(f"\n{number}\r".encode())
    terminal.until(PROMPT)
    assert not re.search(rb"ServerDied|server died", terminal.shown)
    leave(terminal)


def test_whatever_is_killed_in_turn_the_shell_stays_usable(terminal: Terminal, sel4py: Supervisor) -> None:
    """Each task but the shell, from outside, with the reincarnation server among them."""
    names = sorted({str(row["name"]) for row in sel4py.rows("ps") if row["thread"] == 0} - {"root", "shell", "ping"})
    assert {"block", "reincarnation", "vfs"} <= set(names)
    for number, name in enumerate(names, 1):
        sel4py.ok("kill", name)
        if name == "console":
            terminal.until(PROMPT)
        terminal.type(f"call pong ping {number}\r".encode())
        shown = terminal.until(PROMPT)
        if f"\n{number}\r".encode() not in shown:  # pong had taken it, or names
            assert b"ServerDied" in shown
            ask(terminal, f"call pong ping {number}", f"\n{number}\r")
    shown = ask(terminal, "ps", "apps.shell.main")
    assert shown.count("running") >= len(names)
    leave(terminal)


def wait_shown(terminal: Terminal, line: str, answer: str) -> None:
    """Types a line until the shell's answer contains this."""
    deadline = time.monotonic() + FOUND_OUT_SECONDS
    while answer not in (shown := ask(terminal, line, "\n")):
        assert time.monotonic() < deadline, shown


@pytest.mark.skipif(not is_built(), reason="this tree was built without lwIP (sel4py doctor)")
def test_what_stands_on_a_file_system_or_the_network_goes_on_with_its_next_life(terminal: Terminal) -> None:
    """Files go on by themselves, over a file system or a disk's driver, and so does who listens on the network."""
    ask(terminal, "write /www/index.html hello from the disk", "")
    # The web server may begin to listen later than the shell asks for a line.
    wait_shown(terminal, "fetch http://10.0.2.15/", "hello from the disk")
    ask(terminal, "call store put first '\"aGk=\"'", "")
    ask(terminal, "kill littlefs", "littlefs was ended")
    ask(terminal, "cat /www/index.html", "\nhello from the disk\r")
    ask(terminal, "kill block", "block was ended")
    ask(terminal, "kill vfs", "vfs was ended")
    ask(terminal, "call store put second '\"aGE=\"'", "")
    ask(terminal, "call store keys", '["first","second"]')
    ask(terminal, "fetch http://10.0.2.15/", "\nhello from the disk\r")
    ask(terminal, "kill network", "network was ended")
    wait_shown(terminal, "ping 10.0.2.2", "answer 3 in")  # its next life asks for an address first
    wait_shown(terminal, "fetch http://10.0.2.15/", "hello from the disk")
    assert "started again" not in ask(terminal, "log httpd", "started")
    leave(terminal)
