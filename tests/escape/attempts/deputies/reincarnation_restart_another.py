"""Have a task that is another's started anew.

Stopped by: server, kernel
Outside: granted
"""

from __future__ import annotations

from libsel4py.interfaces.system import System
from tests.escape.held import Held


def attempt(held: Held) -> object:
    held.ask(System, "restart_task", "sitting")
    return True
