"""Post a request that says that capabilities travel with it.

Stopped by: sdk
Outside: no, a channel exists inside alone
"""

from __future__ import annotations

from libsel4py import abi
from tests.escape import rings
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    page = rings.connected()
    rings.word(page + abi.CHANNEL_REQUEST + abi.CHANNEL_INFO).value = abi.message_info(0x900, 1, 3)
    for state in range(8):
        rings.half(page + abi.CHANNEL_POSTED).value = 2 << 16 | abi.CHANNEL_VALID
        rings.half(page + abi.CHANNEL_STATE).value = 2 << 16 | state
    return None
