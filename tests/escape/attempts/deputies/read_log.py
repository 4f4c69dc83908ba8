"""Ask whoever may answer for another task's log.

Stopped by: server, kernel
Outside: granted
"""

from __future__ import annotations

from libsel4py.interfaces.system import System
from tests.escape.held import Held


def attempt(held: Held) -> object:
    return held.ask(System, "task_log", "ramfs", 5) is not None
