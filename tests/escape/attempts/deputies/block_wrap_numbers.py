"""Reach other sectors by numbers that wrap around: in 64 bits, in bytes, as negative ones.

Stopped by: server
Outside: no, there are no such sectors
"""

from __future__ import annotations

import contextlib

from libsel4py.errors import InvalidMessage, ServiceError
from libsel4py.interfaces.block import Block, Request
from tests.escape.held import Held
from tests.escape.scene import SECTORS

END = 1 << 64


def attempt(held: Held) -> object:
    disk = held.to(Block, "block")
    with held.memory() as (space, _):
        buffer = disk.attach(space.share())
        disk.read(buffer, 0, 0, 1)
        for sector, count in ((END - 128, 1), (END >> 9, 1), (SECTORS - 1, 2), (1, END - 1), (0, (END >> 9) + 1)):
            with contextlib.suppress(ServiceError):
                disk.read(buffer, 0, sector, count)
                return True
        for request in (Request(False, 0, -128, 1), Request(False, -512, 0, 1), Request(False, 0, SECTORS, -1)):
            with contextlib.suppress(ServiceError, InvalidMessage):
                disk.transfer(buffer, [request])
                return True
    return None
