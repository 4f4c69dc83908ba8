"""Go on to call by a channel that was disconnected.

Stopped by: kernel
Outside: no, the page is taken away
"""

from __future__ import annotations

from libsel4py import abi
from libsel4py.capabilities import Channel
from tests.escape import rings, slots
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    page = rings.connected()
    Channel(slots.FREE).disconnect()
    for state in range(8):
        rings.half(page + abi.CHANNEL_POSTED).value = 3 << 16 | abi.CHANNEL_VALID
        rings.half(page + abi.CHANNEL_STATE).value = 3 << 16 | state
    return rings.half(page + abi.CHANNEL_DONE).value >> 16 == 3
