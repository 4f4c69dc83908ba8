"""The same work on files by littlefs-python in one process, on an image file of the host; and `os.stat` on a tmpfs.

It is set up as the server is: the same geometry, reads and writes of the image by system calls, and a sync of littlefs
is an fsync of the image.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from littlefs import lfs

from bench.tasks.disk_driver import FILE_BYTES, PIECE, PRIME
from libsel4py.littlefs import Geometry

TMPFS: Final = "/dev/shm"
_READ_WRITE, _CREATE = lfs.LFSFileFlag(3), lfs.LFSFileFlag(3 | 256 | 1024)


class _Image:
    """littlefs' context on a file, without a cache of its own: the host's page cache is one."""

    def __init__(self, path: Path, block_bytes: int) -> None:
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
        self._block_bytes = block_bytes

    def read(self, cfg: object, block: int, off: int, size: int) -> bytearray:
        return bytearray(os.pread(self.descriptor, size, block * self._block_bytes + off))

    def prog(self, cfg: object, block: int, off: int, data: bytes) -> int:
        os.pwrite(self.descriptor, data, block * self._block_bytes + off)
        return 0

    def erase(self, cfg: object, block: int) -> int:
        return 0

    def sync(self, cfg: object) -> int:
        os.fdatasync(self.descriptor)
        return 0


class OwnFiles:
    """A littlefs of ``size`` bytes in this process. A context manager."""

    def __init__(self, path: Path, size: int) -> None:
        geometry = Geometry.of(size)
        self._image = _Image(path, geometry.block_bytes)
        os.ftruncate(self._image.descriptor, size)
        self._configuration = geometry.configuration(self._image)  # type: ignore[arg-type]  # what littlefs calls of it
        self._system = lfs.LFSFilesystem()
        lfs.format(self._system, self._configuration)
        lfs.mount(self._system, self._configuration)
        self._memory = bytes(PIECE)
        self._file = lfs.file_open(self._system, "big", _CREATE)
        for _ in range(FILE_BYTES // PIECE):
            lfs.file_write(self._system, self._file, self._memory)
        lfs.file_sync(self._system, self._file)

    def turn(self, order: str, size: int, times: int) -> Callable[[], float]:
        """Does it, and returns seconds a piece."""
        act = {
            "file-read": lambda: self._pieces(size, range(times)),
            "file-random": lambda: self._pieces(size, [number * PRIME for number in range(times)]),
            "file-write": lambda: self._write(size, times),
            "create": lambda: self._create(size, times),
            "stat": lambda: _stat(times),
        }[order]

        def timed() -> float:
            start = time.perf_counter()
            act()
            return (time.perf_counter() - start) / times

        return timed

    def _pieces(self, size: int, numbers: Iterable[int]) -> None:
        system, file, places = self._system, self._file, FILE_BYTES // size
        for number in numbers:
            lfs.file_seek(system, file, number % places * size, 0)
            lfs.file_read(system, file, size)

    def _write(self, size: int, times: int) -> None:
        system, file, places = self._system, self._file, FILE_BYTES // size
        for number in range(times):
            lfs.file_seek(system, file, number % places * size, 0)
            lfs.file_write(system, file, self._memory[:size])
        lfs.file_sync(system, file)

    def _create(self, size: int, times: int) -> None:
        for number in range(times):
            file = lfs.file_open(self._system, f"small{number % 16}", _CREATE)
            lfs.file_write(self._system, file, self._memory[:size])
            lfs.file_sync(self._system, file)
            lfs.file_close(self._system, file)

    def __enter__(self) -> OwnFiles:
        return self

    def __exit__(self, *_: object) -> None:
        lfs.file_close(self._system, self._file)
        lfs.unmount(self._system)
        os.close(self._image.descriptor)


def _stat(times: int) -> None:
    for _ in range(times):
        os.stat(TMPFS)
