"""Have the device write to memory of somebody else's that one may read.

Stopped by: kernel
Outside: granted
"""

from __future__ import annotations

from libsel4py.interfaces.block import Block
from tests.escape.held import Held


def attempt(held: Held) -> object:
    disk = held.to(Block, "block")
    with held.canary() as canary:
        buffer = disk.attach(canary.share())
        disk.read(buffer, 512, 0, 1)
    return True
