"""Write behind one's own partition, as the second part of a transfer whose first is one's own to read.

Stopped by: server
Outside: granted
"""

from __future__ import annotations

from libsel4py.interfaces.block import Block, Request
from tests.escape.held import Held
from tests.escape.scene import SECTORS


def attempt(held: Held) -> object:
    disk = held.to(Block, "block")
    with held.memory() as (space, _):
        buffer = disk.attach(space.share())
        disk.transfer(buffer, [Request(False, 0, SECTORS - 1, 1), Request(True, 512, SECTORS, 1)])
    return True
