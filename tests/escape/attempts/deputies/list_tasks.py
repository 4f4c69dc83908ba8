"""Ask whoever may answer for the list of all tasks.

Stopped by: server, kernel
Outside: granted
"""

from __future__ import annotations

from libsel4py.interfaces.system import System
from tests.escape.held import Held


def attempt(held: Held) -> object:
    return held.ask(System, "tasks")
