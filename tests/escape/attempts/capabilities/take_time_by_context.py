"""Give oneself all of a processor by invoking the context as if it were the control.

Stopped by: kernel
Outside: no, no capability is two objects
"""

from __future__ import annotations

from libsel4py.capabilities import SchedContext, SchedControl
from tests.escape import slots
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    SchedControl(slots.OWN_CONTEXT).configure_flags(SchedContext(slots.OWN_CONTEXT), 10_000, 10_000)
    return True
