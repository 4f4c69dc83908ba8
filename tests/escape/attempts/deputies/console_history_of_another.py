"""Go through what was typed for somebody else, by the key that brings former lines back.

Stopped by: server
Outside: no, a client's lines are its own
"""

from __future__ import annotations

from libsel4py.interfaces.console import Console
from tests.escape.held import Held
from tests.escape.other import SECRET


def attempt(held: Held) -> object:
    console = held.to(Console, "console")
    lines = [""]
    while lines[-1] != "mine":
        lines.append(console.read_line("> "))
    assert console.read_line("> ") == "mine", "no former line comes back at all"
    return SECRET.decode() in lines
