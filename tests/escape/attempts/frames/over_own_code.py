"""Map a frame over the code that this process runs.

Stopped by: kernel
Outside: no, a process's own addresses are nobody's
"""

from __future__ import annotations

import ctypes

from libsel4py.abi import Rights
from libsel4py.capabilities import Frame, VSpace
from tests.escape import slots
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    place = (ctypes.cast(ctypes.pythonapi.Py_GetVersion, ctypes.c_void_p).value or 0) & ~4095
    Frame(slots.CANARY).map(place, Rights.READ, vspace=VSpace(slots.OWN_VSPACE))
    return True
