"""Takes orders from the console, one a line, and answers each with a line of JSON that begins with ``@``.

read SECTORS TIMES        one request after the other, along the disk           seconds a request
write SECTORS TIMES       as read
sync SECTORS TIMES        each write is flushed                                 seconds a write and its flush
many SECTORS TIMES        32 requests a call, spread over the disk, to read     seconds a request
file-read BYTES TIMES     a file of 16 MiB, piece after piece                   seconds a piece
file-random BYTES TIMES   pieces all over it
file-write BYTES TIMES    written over, piece after piece, and synced at the end
create BYTES TIMES        a new small file: written, synced, closed             seconds a file
stat 0 TIMES              of one file
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable

from libsel4py import Component, component, uses
from libsel4py.dataspace import DataSpace
from libsel4py.files import Files
from libsel4py.interfaces.block import MOST_REQUESTS, SECTOR_BYTES, Block, Request
from libsel4py.interfaces.console import Console
from libsel4py.interfaces.file import Directory

BUFFER_BYTES = 1 << 20
PRIME = 7919  # steps over the disk
FILE_BYTES = 16 << 20
PIECE = 65536


@component
class Main(Component):
    """Measures."""

    console = uses(Console)
    disk = uses(Block)
    files = uses(Directory)

    def run(self) -> int:
        with DataSpace.allocate(BUFFER_BYTES) as space:
            space.attach().write(0, bytes(range(256)) * (BUFFER_BYTES // 256))
            self.buffer = self.disk.attach(space.share())
            self.sectors = self.disk.geometry().sectors
            self.kept = Files(self.files, buffer_bytes=256 << 10, pool_bits=16)
            self._fill()
            orders = {
                "file-read": self._file_read,
                "file-random": self._file_random,
                "file-write": self._file_write,
                "create": self._create,
                "stat": self._stat,
            }
            orders |= {"read": self._read, "write": self._write, "sync": self._sync, "many": self._many}
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

    def _fill(self) -> None:
        with self.kept.open_raw("big", "wb") as file:
            for _ in range(FILE_BYTES // PIECE):
                file.write(bytes(range(256)) * (PIECE // 256))
            file.sync()
        self.open_file = self.kept.open_raw("big", "r+b")
        self.memory = bytearray(PIECE)

    def _file_read(self, size: int, times: int) -> int:
        return self._pieces(size, range(times))

    def _file_random(self, size: int, times: int) -> int:
        return self._pieces(size, [number * PRIME for number in range(times)])

    def _pieces(self, size: int, numbers: Iterable[int]) -> int:
        file, places, part, done = self.open_file, FILE_BYTES // size, memoryview(self.memory)[:size], 0
        for number in numbers:
            file.seek(number % places * size)
            file.readinto(part)
            done += 1
        return done

    def _file_write(self, size: int, times: int) -> int:
        file, places, part = self.open_file, FILE_BYTES // size, memoryview(self.memory)[:size]
        for number in range(times):
            file.seek(number % places * size)
            file.write(part)
        file.sync()
        return times

    def _create(self, size: int, times: int) -> int:
        for number in range(times):
            with self.kept.open_raw(f"small{number % 16}", "wb") as file:
                file.write(memoryview(self.memory)[:size])
                file.sync()
        return times

    def _stat(self, size: int, times: int) -> int:
        stat = self.kept.stat
        for _ in range(times):
            stat("big")
        return times

    def _along(self, count: int, times: int) -> list[int]:
        places = self.sectors // count
        return [number % places * count for number in range(times)]
