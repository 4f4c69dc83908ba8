"""Order the system to end.

Stopped by: server, kernel
Outside: no, the reincarnation server alone may
"""

from __future__ import annotations

from libsel4py.interfaces.lifecycle import Lifecycle
from tests.escape.held import Held


def attempt(held: Held) -> object:
    held.ask(Lifecycle, "end_system", 1, 0, "because")
    return True
