"""Run at a higher priority than may be given.

Stopped by: kernel
Outside: granted
"""

from __future__ import annotations

from libsel4py.capabilities import TCB
from libsel4py.lowlevel.identify import identify
from tests.escape import slots
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    authority = slots.JUDGE if identify(slots.JUDGE).type == "TCB" else slots.OWN_TCB
    TCB(slots.OWN_TCB).set_priority(TCB(authority), 200)
    return True
