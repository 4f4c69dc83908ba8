"""Ask for a line by a prompt in which there is what a terminal takes as commands.

Stopped by: server
Outside: no, nobody may; what came to the terminal is looked at behind the run
"""

from __future__ import annotations

from libsel4py.interfaces.console import Console
from tests.escape.held import Held


def attempt(held: Held) -> object:
    line = held.to(Console, "console").read_line("\x1b[6n\x1b]2;title\a> ", True, False)
    return line != "asked"
