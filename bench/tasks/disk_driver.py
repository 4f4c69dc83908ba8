"""Takes orders from the console, one a line, and answers each with a line of JSON that begins with ``@``.

read SECTORS TIMES        one request after the other, along the disk           seconds a request
write SECTORS TIMES       as read
sync SECTORS TIMES        each write is flushed                                 seconds a write and its flush
many SECTORS TIMES        32 requests a call, spread over the disk, to read     seconds a request
"""

from __future__ import annotations

import json
import time

from libsel4py import Component, component, uses
from libsel4py.dataspace import DataSpace
from libsel4py.interfaces.block import MOST_REQUESTS, SECTOR_BYTES, Block, Request
from libsel4py.interfaces.console import Console

BUFFER_BYTES = 1 << 20
PRIME = 7919  # steps over the disk


@component
class Main(Component):
    """Measures."""

    console = uses(Console)
    disk = uses(Block)

    def run(self) -> int:
        with DataSpace.allocate(BUFFER_BYTES) as space:
            space.attach().write(0, bytes(range(256)) * (BUFFER_BYTES // 256))
            self.buffer = self.disk.attach(space.share())
            self.sectors = self.disk.geometry().sectors
            orders = {"read": self._read, "write": self._write, "sync": self._sync, "many": self._many}
            while True:
                name, *arguments = self.console.read_line("", echo=False).split()
                if name == "end":
                    return 0
                count, times = map(int, arguments)
                start = time.perf_counter()
                done = orders[name](count, times)
                seconds = (time.perf_counter() - start) / done
                self.console.write(f"@{json.dumps({'seconds': seconds})}\n")

    def _read(self, count: int, times: int) -> int:
        for at in self._along(count, times):
            self.disk.read(self.buffer, 0, at, count)
        return times

    def _write(self, count: int, times: int) -> int:
        for at in self._along(count, times):
            self.disk.write(self.buffer, 0, at, count)
        return times

    def _sync(self, count: int, times: int) -> int:
        for at in self._along(count, times):
            self.disk.write(self.buffer, 0, at, count)
            self.disk.flush()
        return times

    def _many(self, count: int, times: int) -> int:
        places = self.sectors // count
        for number in range(times):
            chosen = [(number * MOST_REQUESTS + each) * PRIME % places * count for each in range(MOST_REQUESTS)]
            size = count * SECTOR_BYTES
            self.disk.transfer(
                self.buffer, [Request(False, at * size, sector, count) for at, sector in enumerate(chosen)]
            )
        return times * MOST_REQUESTS

    def _along(self, count: int, times: int) -> list[int]:
        places = self.sectors // count
        return [number % places * count for number in range(times)]
