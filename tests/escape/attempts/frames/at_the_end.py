"""Map a frame where addresses end, or go round.

Stopped by: kernel
Outside: no, there are no such addresses
"""

from __future__ import annotations

import contextlib

from libsel4py import abi
from libsel4py.abi import Rights
from libsel4py.capabilities import Frame, VSpace
from libsel4py.errors import KernelError
from tests.escape import slots
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    for place in (abi.MAPPING_END, (1 << 47) - 4096, 1 << 47, (1 << 64) - 4096, abi.MAPPING_BASE - 4096, 1):
        with contextlib.suppress(KernelError):
            Frame(slots.CANARY).map(place, Rights.READ, vspace=VSpace(slots.OWN_VSPACE))
            return place
    return None
