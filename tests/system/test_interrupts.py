"""Ctrl-C at the terminal ends the command that waits, and the shell goes on with all that it has."""

from __future__ import annotations

import pytest

from tests.system.supervisor import PROMPT, Supervisor, Terminal

CONTROL_C = b"\x03"
SILENT = "192.0.2.1"  # RFC 5737: nobody answers there
ECHOES = f"ping {SILENT} 100"  # each is waited for 5 s, unless it is said for how long


def ask(terminal: Terminal, line: str, keys: bytes = b"") -> str:
    """What a command shows, up to the next prompt. ``keys``: typed at once behind its line."""
    terminal.type(line.encode() + b"\r" + keys)
    return terminal.until(PROMPT).decode().removeprefix(line).removesuffix(PROMPT.decode()).replace("\r", "").lstrip()


def started(sel4py: Supervisor) -> Terminal:
    """The workstation at its prompt, and with an address, without which no echo is waited for."""
    terminal = sel4py.terminal("up", "workstation")
    terminal.until(PROMPT)
    while "answer 1 in" not in ask(terminal, "ping 10.0.2.2 1"):
        continue
    return terminal


@pytest.mark.parametrize("line", [ECHOES, f"{ECHOES} | grep 100 | wc", "ping 1000000"])
def test_control_c_ends_the_command_that_waits_and_nothing_else(sel4py: Supervisor, line: str) -> None:
    terminal = started(sel4py)
    ask(terminal, "ping 1")
    ask(terminal, "write kept text")
    shells = [row for row in sel4py.rows("ps") if row["name"] == "shell"]
    for _ in range(2):
        assert ask(terminal, line, CONTROL_C) == "^C\n"
    assert ask(terminal, "cat kept") == "text\n"
    assert "1 calls to pong" in ask(terminal, "ping 1")
    assert [row["pid"] for row in sel4py.rows("ps") if row["name"] == "shell"] == [row["pid"] for row in shells]
    terminal.type(b"exit\r")
    assert terminal.wait() == 0


def test_control_c_ends_a_call_that_has_waited_for_long(sel4py: Supervisor) -> None:
    terminal = started(sel4py)
    terminal.type(ECHOES.encode() + b" 1\r")
    terminal.until(b"no answer within 1 s")
    terminal.type(CONTROL_C)
    terminal.until(b"^C")
    terminal.until(PROMPT)
    assert ask(terminal, "ping 1").startswith("1 calls to pong")
    terminal.type(b"exit\r")
    assert terminal.wait() == 0
