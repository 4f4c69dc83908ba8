"""Take a buffer's memory away while the device writes to it.

Stopped by: server, kernel
Outside: no, it takes one's own back
"""

from __future__ import annotations

import contextlib

from libsel4py.dataspace import DataSpace
from libsel4py.errors import ServiceError, Timeout
from libsel4py.interface import with_timeout
from libsel4py.interfaces.block import Block
from tests.escape.held import BUFFER_BYTES, Held

WAITS = (0.0, 0.0001, 0.0002, 0.0004, 0.001)


def attempt(held: Held) -> object:
    for wait in WAITS:
        disk = held.to(Block, "block")
        space = DataSpace.allocate(BUFFER_BYTES, held.task)
        buffer = disk.attach(space.share())
        with contextlib.suppress(ServiceError, Timeout):
            with_timeout(disk, wait).read(buffer, 0, 0, BUFFER_BYTES >> 9)
        space.close()
        with contextlib.suppress(ServiceError):
            disk.detach(buffer)
    return None
