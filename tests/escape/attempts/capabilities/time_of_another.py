"""Read how much time another has used, a covert channel.

Stopped by: kernel
Outside: granted
"""

from __future__ import annotations

from libsel4py.capabilities import SchedContext
from tests.escape import slots
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    return SchedContext(slots.VICTIM_CONTEXT).consumed() >= 0
