"""Call by channel with another's badge in every word of the page.

Stopped by: kernel
Outside: granted
"""

from __future__ import annotations

from libsel4py import abi
from libsel4py.capabilities import Endpoint
from libsel4py.lowlevel.syscalls import Message
from tests.escape import rings, slots
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    page = rings.connected()
    for at in range(abi.CHANNEL_MR, 0x40, 8):
        rings.word(page + at).value = 0x77
    return Endpoint(slots.WITNESS).call(Message(0x901, (0x77, 0x77))).words[0] != slots.BADGE
