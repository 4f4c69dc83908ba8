# mypy: disable-error-code="empty-body"
"""A server that is lent memory, and its interface."""

from __future__ import annotations

import ctypes
import zlib
from contextlib import suppress

from libsel4py import Interface, Notification, component
from libsel4py.abi import Rights, VMFault
from libsel4py.bell import Bell
from libsel4py.bulk import Consumer, HostilePeer, Layout
from libsel4py.dataspace import DataSpace, SharedMemory


class Lent(Interface):
    def keep(self, memory: SharedMemory) -> int:
        """Attach it as it comes; its size."""

    def drop(self) -> None: ...

    def read(self, offset: int, length: int) -> bytes:
        """Guarded. Raises RemoteError of a VMFault where it is gone."""

    def try_write(self, offset: int, data: bytes) -> str:
        """Guarded: empty if it worked, else what happened."""

    def fill(self, value: int) -> None:
        """In place, by memoryview."""

    def count_up(self) -> int:
        """Add 1 to each number of 32 bits, in place, by numpy; how many there are, 0 where there is no numpy."""

    def store_in_c(self, offset: int) -> None:
        """By memset, unguarded."""

    def open_ring(self, memory: SharedMemory, buffers: int, buffer_bytes: int) -> Notification:
        """The server's bell, to be rung by the producer."""

    def use_bell(self, bell: Notification) -> None: ...

    def digest(self, pieces: int) -> int:
        """Take so many pieces in place: the checksum (CRC-32) of all of their bytes."""


@component
class Main(Lent):
    _space: DataSpace | None = None
    _bell: Bell | None = None

    @property
    def space(self) -> DataSpace:
        assert self._space is not None
        return self._space

    def keep(self, memory: SharedMemory) -> int:
        self.drop()
        self._space = DataSpace.receive(memory)
        self.space.attach()
        return self.space.size

    def drop(self) -> None:
        if self._space is not None:
            self._space.close()
            self._space = None

    def read(self, offset: int, length: int) -> bytes:
        assert self.space.mapping is not None
        return self.space.mapping.read(offset, length)

    def try_write(self, offset: int, data: bytes) -> str:
        assert self.space.mapping is not None
        try:
            self.space.mapping.write(offset, data)
        except (TypeError, VMFault) as error:
            return type(error).__name__
        return ""

    def fill(self, value: int) -> None:
        assert self.space.mapping is not None
        with memoryview(self.space.mapping) as view:
            view[:] = bytes([value]) * len(view)

    def count_up(self) -> int:
        try:
            import numpy
        except ImportError:
            return 0
        assert self.space.mapping is not None
        numbers = numpy.frombuffer(memoryview(self.space.mapping), dtype="<u4")
        numbers += 1
        return len(numbers)

    def store_in_c(self, offset: int) -> None:
        assert self.space.mapping is not None
        ctypes.memset(self.space.mapping.address + offset, 1, 1)

    def open_ring(self, memory: SharedMemory, buffers: int, buffer_bytes: int) -> Notification:
        self.drop()
        self._space = DataSpace.receive(memory)
        self._layout = Layout(buffers, buffer_bytes)
        self._bell = Bell.allocate()
        return self._bell.peer

    def use_bell(self, bell: Notification) -> None:
        assert self._bell is not None
        self._ring = Consumer(self.space.attach(Rights.READ | Rights.WRITE), self._layout, bell.signal, self._bell.wait)

    def digest(self, pieces: int) -> int:
        checksum = 0
        while pieces:
            for piece in self._ring.take(timeout=30):
                checksum = zlib.crc32(piece.view, checksum)
                self._ring.release(piece)
                pieces -= 1
        with suppress(HostilePeer):
            assert not self._ring.take_nowait()
        self._ring.close()
        return checksum
