"""Read the memory of the process that made this one, at an address that both have.

Stopped by: seccomp, hidden
Outside: works
"""

from __future__ import annotations

import ctypes
import os

from tests.escape import linux
from tests.escape.attempt import Stopped
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    if not os.getppid():
        raise Stopped("it has none that can be seen")
    shared = ctypes.cast(ctypes.pythonapi.Py_GetVersion, ctypes.c_void_p).value or 0
    place = linux.buffer(8)
    arguments = (os.getppid(), linux.vector(place, 8), 1, linux.vector(shared, 8), 1, 0)
    return linux.system_call("process_vm_readv", *arguments)
