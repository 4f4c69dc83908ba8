"""Write more than a piece, and pieces of lines that never end, until the console has no room for others.

Stopped by: server
Outside: no, what it keeps for its clients is bounded
"""

from __future__ import annotations

import contextlib

from libsel4py.errors import MessageTooLong
from libsel4py.interfaces.console import Console
from tests.escape.held import REFUSED, Held


def attempt(held: Held) -> object:
    console = held.to(Console, "console")
    with contextlib.suppress(*REFUSED, MessageTooLong):
        console.write_piece("x" * 2000)
        return True
    for _ in range(40):
        console.write_piece("x" * 200)
    console.write("\n")
    return held.other.harmed()
