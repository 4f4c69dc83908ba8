"""Order tasks to be started and stopped, as the reincarnation server does.

Stopped by: server, kernel
Outside: no, the reincarnation server alone may
"""

from __future__ import annotations

from libsel4py.interfaces.lifecycle import Lifecycle
from tests.escape.held import Held


def attempt(held: Held) -> object:
    return held.ask(Lifecycle, "tasks")
