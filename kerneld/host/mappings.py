"""Frames with memory of their own: what a process is handed, and how it is taken away.

A frame's bytes begin in RAM's memfd. The first time the frame is handed to a process it becomes a memfd of its own,
laid over RAM's window at its physical address. Sealed against growing: a revocation truncates it, which takes the
memory away from whoever has it mapped, and nothing can bring it back.

Rule: physical address and size name a frame; a frame that is destroyed is forgotten here (`gone`) before its memory
is used again.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from hw.ram import Ram
from hw.window import discard, map_fixed
from kerneld.host.fd_store import FdStore
from libsel4py.abi import Rights

SEALS: Final = fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
_CHUNK: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class OwnMemory:
    """A frame's memfd. `size` in bytes."""

    descriptor: int
    size: int


class Mappings:
    """The frames that have memory of their own, by physical address."""

    def __init__(self, ram: Ram, ram_fd: int, store: FdStore) -> None:
        self._ram = ram
        self._ram_fd = ram_fd
        self._store = store
        self._frames: dict[int, OwnMemory] = {}
        self._read_only: dict[int, int] = {}  # further descriptors of some of them

    def __len__(self) -> int:
        return len(self._frames)

    def frame_fd(self, address: int, size: int) -> int:
        """The frame's memfd, made if this is the first time. It stays ours: duplicate it, or attach it to a message.

        Raises:
            ValueError: another size was given before. OSError: the host has no more descriptors, mappings or memory.
        """
        frame = self._frames.get(address)
        if frame is None:
            frame = self._frames[address] = self._make(address, size)
        if frame.size != size:
            raise ValueError(f"the frame at {address:#x} has {frame.size} bytes, not {size}: it was not forgotten")
        return frame.descriptor

    def map_fd(self, address: int, size: int, rights: int) -> int:
        """As `frame_fd`, for a process that is to map the frame with these rights.

        Without Write it is another opening of the file, for reading: what is mapped by it cannot be made writable
        (mprotect(2)), and a task has no way to open the file a second time (hw/_cpu/filter.c).
        """
        descriptor = self.frame_fd(address, size)
        if rights & Rights.WRITE:
            return descriptor
        if address not in self._read_only:
            self._read_only[address] = os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_CLOEXEC)
        return self._read_only[address]

    def own_memory(self) -> Iterator[tuple[int, int, int]]:
        """Physical address, descriptor and bytes of each."""
        for address, frame in self._frames.items():
            yield address, frame.descriptor, frame.size

    def gone(self, address: int, size: int) -> None:
        """The frame was destroyed: whoever has it mapped loses it. The window shows RAM's own zeroes there."""
        frame = self._frames.pop(address, None)
        if frame is None:
            return
        map_fixed(self._ram, address, frame.size, self._ram_fd, address)
        os.ftruncate(frame.descriptor, 0)
        os.close(frame.descriptor)
        if address in self._read_only:
            os.close(self._read_only.pop(address))
        self._store.drop(f"frame:{address:x}")

    def close(self) -> None:
        """Close the descriptors; the mappings stay until the window is unmapped."""
        for descriptor in (*(frame.descriptor for frame in self._frames.values()), *self._read_only.values()):
            os.close(descriptor)
        self._frames.clear()
        self._read_only.clear()

    def _make(self, address: int, size: int) -> OwnMemory:
        descriptor = os.memfd_create(f"sel4py-frame-{address:x}", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(descriptor, size)
            self._copy(address, size, descriptor)
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, SEALS)
            map_fixed(self._ram, address, size, descriptor, 0)
        except BaseException:
            os.close(descriptor)
            raise
        # Covered from now on; when the frame is gone, zeroes are to show, not what it once held.
        discard(self._ram_fd, address, size)
        self._store.keep(f"frame:{address:x}", descriptor)
        return OwnMemory(descriptor, size)

    def _copy(self, address: int, size: int, descriptor: int) -> None:
        """Copy RAM's bytes, holes left as holes: a large frame that was never written costs nothing."""
        at = address
        end = address + size
        while at < end:
            try:
                at = os.lseek(self._ram_fd, at, os.SEEK_DATA)
            except OSError:  # ENXIO: no data up to the end of RAM
                return
            hole = min(os.lseek(self._ram_fd, at, os.SEEK_HOLE), end)
            while at < hole:
                data = self._ram.read(at, min(_CHUNK, hole - at))
                os.pwrite(descriptor, data, at - address)
                at += len(data)
