"""Post requests by numbers that jump.

Stopped by: sdk
Outside: no, a channel exists inside alone
"""

from __future__ import annotations

from libsel4py import abi
from tests.escape import rings
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    page = rings.connected()
    for number in range(0, 1 << 16, 257):
        rings.half(page + abi.CHANNEL_STATE).value = number << 16 | 1
        rings.half(page + abi.CHANNEL_POSTED).value = number << 16 | abi.CHANNEL_VALID
    return None
