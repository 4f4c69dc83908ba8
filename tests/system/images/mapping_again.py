"""Maps a large frame, reads a byte, and unmaps it, again and again: its bytes go from RAM to the task and back."""

from __future__ import annotations

from typing import Final

from libsel4py import Component, component
from libsel4py.abi import Rights
from libsel4py.dataspace import DataSpace

BYTES: Final = 16 << 20


@component
class Main(Component):
    def run(self) -> int:
        space = DataSpace.allocate(BYTES)
        space.attach().write(0, b"kept" * (BYTES // 4))
        space.detach()
        while True:
            space.attach(Rights.READ).read(0, 1)
            space.detach()
