"""Raise a semaphore of the victim's.

Stopped by: seccomp, namespaces
Outside: works
"""

from __future__ import annotations

import struct

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    linux.system_call("semop", stage.sem, linux.buffer(struct.pack("<Hhh", 0, 1, 0)), 1)
    return True
