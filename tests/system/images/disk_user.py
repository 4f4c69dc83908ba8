"""A disk's client, which does what it is told on the console: names of methods here, with numbers. Its answers begin
with @."""

from __future__ import annotations

import asyncio
import time

from libsel4py import Component, ServerDied, aio, component, uses
from libsel4py.dataspace import DataSpace, SharedMemory
from libsel4py.interfaces.block import BadRequest, Block, DiskError, Request
from libsel4py.interfaces.console import Console
from libsel4py.testing.block_device import Subject, check_block_device

SIZE = 1 << 20


@component
class Main(Component):
    disk = uses(Block)
    console = uses(Console)

    def run(self) -> int:
        with DataSpace.allocate(SIZE) as space:
            self.space = space
            self.mapping = space.attach()
            self.attach()
            self.geometry = self.disk.geometry()
            while True:
                name, *arguments = self.console.read_line("", echo=False).split()
                if name == "end":
                    return 0
                try:
                    said = getattr(self, name)(*map(int, arguments))
                except (AssertionError, BadRequest, DiskError, ServerDied) as error:
                    said = f"{type(error).__name__}: {error}"
                self.console.write(f"@{said}\n")

    def attach(self) -> str:
        self.buffer = self.disk.attach(self.space.share())
        return "attached"

    def conform(self) -> str:
        self.disk.detach(self.buffer)
        check_block_device(Subject(self.disk, lambda: SharedMemory(self.task.vspace.cptr)))
        self.attach()
        return "conforms"

    def lose(self, times: int) -> str:
        """Take memory back while the disk reads to it."""
        return aio.run(self._lose(times))

    async def _lose(self, times: int) -> str:
        lost = 0
        for _ in range(times):
            space = DataSpace.allocate(SIZE)
            buffer = self.disk.attach(space.share())
            requests = [Request(False, 512 * number, 2 * number, 1) for number in range(32)]
            call = asyncio.ensure_future(aio.call(self.disk.transfer, buffer, requests))
            await asyncio.sleep(0)
            space.revoke()
            try:
                await call
            except DiskError:
                lost += 1
            space.close()
            self.disk.detach(buffer)
        return f"lost {lost}"

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

    def speed(self, count: int, times: int, writes: int = 0) -> str:
        act = self.disk.write if writes else self.disk.read
        start = time.perf_counter()
        for number in range(times):
            act(self.buffer, 0, number * count % (self.geometry.sectors - count), count)
        return f"{(time.perf_counter() - start) / times * 1e6:.0f} us"
