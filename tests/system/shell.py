"""A person before the shell's prompt: asks, reads what is shown, and leaves."""

from __future__ import annotations

from pathlib import Path

from tests.system.supervisor import PROMPT, Supervisor, Terminal


def at_prompt(sel4py: Supervisor, system: Path) -> Terminal:
    """A terminal at which a system has been started, when its shell asks for the first line."""
    terminal = sel4py.terminal("up", system)
    terminal.until(PROMPT)
    return terminal


def ask(terminal: Terminal, line: str) -> str:
    """Types a line; what the shell shows until it asks for the next one."""
    terminal.type(line.encode() + b"\r")
    terminal.until(line.encode())
    return terminal.until(PROMPT).decode()


def leave(terminal: Terminal) -> None:
    terminal.type(b"exit 6\r")
    assert terminal.wait() == 6
