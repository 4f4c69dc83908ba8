"""Have the device write beside one's buffer: behind it, before it, across its end.

Stopped by: server
Outside: no, the device has no such memory
"""

from __future__ import annotations

import contextlib

from libsel4py.errors import ServiceError
from libsel4py.interfaces.block import Block
from tests.escape.held import BUFFER_BYTES, Held

END = 1 << 64


def attempt(held: Held) -> object:
    disk = held.to(Block, "block")
    with held.memory() as (space, _):
        buffer = disk.attach(space.share())
        disk.read(buffer, BUFFER_BYTES - 512, 0, 1)
        for offset in (BUFFER_BYTES, BUFFER_BYTES - 4, END - 512, 1 << 32, 1 << 63):
            with contextlib.suppress(ServiceError):
                disk.read(buffer, offset, 0, 1)
                return True
    return None
