"""Read into a buffer of somebody else's, by its number.

Stopped by: server
Outside: no, a buffer's number is its client's alone
"""

from __future__ import annotations

import contextlib

from libsel4py.errors import ServiceError
from libsel4py.interfaces.block import Block
from tests.escape.held import Held


def attempt(held: Held) -> object:
    disk = held.to(Block, "block")
    with held.memory() as (space, _):
        own = disk.attach(space.share())
        disk.read(own, 0, 0, 1)
        disk.detach(own)
    for number in (held.told().buffer, *range(8)):
        with contextlib.suppress(ServiceError):
            disk.read(number, 0, 0, 1)
            return True
    return None
