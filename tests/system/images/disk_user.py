"""A disk's client, which says on the console's line what it found. Configuration: ``steps``, names of methods here."""

from __future__ import annotations

import time

from libsel4py import Component, component, uses
from libsel4py.dataspace import DataSpace
from libsel4py.interfaces.block import BadRequest, Block, DiskError, Request
from libsel4py.interfaces.console import Console

SIZE = 1 << 20


@component
class Main(Component):
    disk = uses(Block)
    console = uses(Console)

    def run(self) -> int:
        with DataSpace.allocate(SIZE) as space:
            self.mapping = space.attach()
            self.buffer = self.disk.attach(space.share())
            self.geometry = self.disk.geometry()
            while True:
                name, *arguments = self.console.read_line("", echo=False).split()
                if name == "end":
                    return 0
                try:
                    said = getattr(self, name)(*map(int, arguments))
                except (BadRequest, DiskError) as error:
                    said = f"{type(error).__name__}: {error}"
                self.console.write(f"@{said}\n")

    def size(self) -> int:
        return self.geometry.sectors

    def fill(self, sector: int, count: int, value: int) -> str:
        self.mapping.write(0, bytes([value]) * (512 * count))
        self.disk.write(self.buffer, 0, sector, count)
        self.disk.flush()
        return "written"

    def look(self, sector: int, count: int) -> str:
        self.mapping.write(0, bytes(512 * count))
        self.disk.read(self.buffer, 0, sector, count)
        return " ".join(map(str, sorted(set(self.mapping.read(0, 512 * count)))))

    def scatter(self, count: int) -> str:
        self.mapping.write(0, b"".join(bytes([number]) * 512 for number in range(count)))
        self.disk.transfer(self.buffer, [Request(True, 512 * number, 2 * number, 1) for number in range(count)])
        self.disk.transfer(
            self.buffer, [Request(False, 512 * (100 + number), 2 * number, 1) for number in range(count)]
        )
        found = self.mapping.read(512 * 100, 512 * count)
        return "same" if found == self.mapping.read(0, 512 * count) else "different"

    def speed(self, count: int, times: int) -> str:
        start = time.perf_counter()
        for number in range(times):
            self.disk.read(self.buffer, 0, number * count % (self.geometry.sectors - count), count)
        return f"{(time.perf_counter() - start) / times * 1e6:.0f} us"
