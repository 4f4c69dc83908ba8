"""Have the device write to memory that one has given back, and that is somebody else's by now.

Stopped by: kernel
Outside: no, a device loses memory when its owner does
"""

from __future__ import annotations

import contextlib

from libsel4py.dataspace import DataSpace
from libsel4py.errors import ServiceError
from libsel4py.interfaces.block import Block
from tests.escape.held import BUFFER_BYTES, Held

PATTERN = b"\x5a" * BUFFER_BYTES


def attempt(held: Held) -> object:
    disk = held.to(Block, "block")
    first = DataSpace.allocate(BUFFER_BYTES, held.task)
    seen = first.attach()
    seen.write(0, PATTERN)
    address = first.frames[0].get_address()
    buffer = disk.attach(first.share())
    disk.read(buffer, 0, 0, 1)
    assert seen.read(0, 512) != PATTERN[:512], "the device does not write at all"
    first.close()
    with held.memory() as (again, mapping):
        assert again.frames[0].get_address() == address, "the memory was not taken again"
        mapping.write(0, PATTERN)
        with contextlib.suppress(ServiceError):
            disk.read(buffer, 0, 0, 1)
        return mapping.read(0, BUFFER_BYTES) != PATTERN
