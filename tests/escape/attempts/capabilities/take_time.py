"""Give oneself all of a processor.

Stopped by: kernel
Outside: granted
"""

from __future__ import annotations

from libsel4py.capabilities import SchedContext, SchedControl
from tests.escape import slots
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    SchedControl(slots.SCHED_CONTROL).configure_flags(SchedContext(slots.OWN_CONTEXT), 10_000, 10_000)
    return True
