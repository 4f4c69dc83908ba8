"""Read sectors behind one's own partition.

Stopped by: server
Outside: granted
"""

from __future__ import annotations

from libsel4py.interfaces.block import Block
from tests.escape.held import Held
from tests.escape.scene import SECTORS


def attempt(held: Held) -> object:
    disk = held.to(Block, "block")
    with held.memory() as (space, _):
        buffer = disk.attach(space.share())
        disk.read(buffer, 0, SECTORS - 1, 1)
        disk.read(buffer, 0, SECTORS, 1)
    return True
