"""Raise the limit of memory, where it may be raised.

Stopped by: limits
Outside: works
"""

from __future__ import annotations

import resource
import struct

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    more = (most + 1 if most != resource.RLIM_INFINITY else most) & (1 << 64) - 1
    linux.system_call("setrlimit", resource.RLIMIT_DATA, linux.buffer(struct.pack("<QQ", more, more)))
    return True
