"""Have so many requests under way that the driver can owe nobody else an answer.

Stopped by: server
Outside: no, a client has so many calls under way
"""

from __future__ import annotations

import contextlib

from libsel4py.errors import ServiceError, Timeout
from libsel4py.interface import with_timeout
from libsel4py.interfaces.block import Block
from tests.escape.held import Held


def attempt(held: Held) -> object:
    disk = held.to(Block, "block")
    with held.memory() as (space, _):
        buffer = disk.attach(space.share())
        for _ in range(200):
            with contextlib.suppress(ServiceError, Timeout):
                with_timeout(disk, 0.0).flush()
            with contextlib.suppress(ServiceError, Timeout):
                with_timeout(disk, 0.0).read(buffer, 0, 0, 8)
        assert not held.other.harmed(), "others are not served meanwhile"
        disk.detach(buffer)
    return None
