"""Wake the server without a request, without an end.

Stopped by: sdk
Outside: no, a channel exists inside alone
"""

from __future__ import annotations

from libsel4py import abi
from tests.escape import linux, rings
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    page = rings.connected()
    for _ in range(2000):
        rings.half(page + abi.CHANNEL_SLEEPERS).value += 2
        linux.system_call("futex", page + abi.CHANNEL_SLEEPERS, 1, 1 << 30, 0, 0, 0)
    return None
