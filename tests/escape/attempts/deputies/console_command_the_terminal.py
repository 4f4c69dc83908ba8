"""Write what a terminal takes as commands: one that answers as if it were typed, and one that changes its title.

Stopped by: server
Outside: no, nobody may; what came to the terminal is looked at behind the run
"""

from __future__ import annotations

from libsel4py.interfaces.console import Console
from tests.escape.held import Held


def attempt(held: Held) -> object:
    console = held.to(Console, "console")
    console.write("\x1b[6n\x1b]2;title\a\x9b6n\x90q\x9c\n")
    console.write("\x1b")
    console.write("[6n\n")
    return None
