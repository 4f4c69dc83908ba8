"""Memory of the fake kernel: frames with bytes, one address space, and mappings that are real memory of this process.

A frame's bytes are a memfd, so two mappings of it show the same bytes, as between tasks. Guarded accesses ask the table
of mappings and raise `VMFault` where nothing (or less) is mapped. What is in place (`memoryview`) is as it was when it
was taken: nothing here takes memory away from under it, and no access faults.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import threading
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from libsel4py.abi import (
    ACCESS_WIDTHS,
    FRAME_MIN_BITS,
    IO_MAPPING_END,
    MAPPING_BASE,
    MAPPING_END,
    Error,
    Rights,
    VMFault,
)

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from libsel4py.mapping import Mapping

_MAP_FIXED: Final = 0x10
_WORD_BYTES: Final = 8
_PAGE_BYTES: Final = 1 << FRAME_MIN_BITS


class FakeFrame:
    """A frame. ``descriptor`` is its memory's."""

    def __init__(self, size_bits: int) -> None:
        self.size_bits = size_bits
        self.descriptor = os.memfd_create("fake-frame", os.MFD_CLOEXEC)
        weakref.finalize(self, os.close, self.descriptor)
        os.ftruncate(self.descriptor, 1 << size_bits)

    @property
    def size(self) -> int:
        return 1 << self.size_bits

    def __repr__(self) -> str:
        return f"FakeFrame({self.size_bits})"


@dataclass(frozen=True, slots=True)
class Mapped:
    """What is mapped at an address, by which slot's capability."""

    address: int
    frame: FakeFrame
    rights: Rights
    slot: int


class FakeSpace:
    """The mappings of the one address space, and the accesses to them."""

    base, end = MAPPING_BASE, MAPPING_END

    def __init__(self) -> None:
        self.mapped: dict[int, Mapped] = {}  # by slot
        self.words = threading.Lock()

    def map(self, slot: int, frame: FakeFrame, address: int, rights: Rights) -> tuple[int, tuple[int, ...]]:
        """Frame.map: error code and words, in the order of the manual."""
        former = self.mapped.get(slot)
        if address % frame.size:
            return Error.ALIGNMENT_ERROR, ()
        if not self.base <= address <= self.end - frame.size or (former and former.address != address):
            return Error.INVALID_ARGUMENT, (0,)
        if any(each.slot != slot and _overlap(each, address, frame.size) for each in list(self.mapped.values())):
            return Error.DELETE_FIRST, ()
        self.mapped[slot] = Mapped(address, frame, rights, slot)
        return Error.NO_ERROR, ()

    def unmap(self, slot: int) -> None:
        """End the mapping of a slot's capability, if it has one."""
        self.mapped.pop(slot, None)

    def pieces(self, address: int, length: int, wanted: Rights) -> Iterator[tuple[FakeFrame, int, int]]:
        """The frames under a range: (frame, offset in it, bytes). Raises VMFault."""
        while length:
            found = next((each for each in list(self.mapped.values()) if _overlap(each, address, 1)), None)
            if found is None or wanted & ~found.rights:
                raise VMFault(address, "write" if wanted & Rights.WRITE else "read")
            offset = address - found.address
            count = min(length, found.frame.size - offset)
            yield found.frame, offset, count
            address, length = address + count, length - count

    def view(self, address: int, size: int, writable: bool = False, /) -> Mapping:
        """`Cpu.Mapping`."""
        if size < 1 or not MAPPING_BASE <= address <= MAPPING_END - size:
            raise ValueError(f"{size} bytes at {address:#x} are no memory that the kernel maps")
        made = FakeMapping(-1, size, access=mmap.ACCESS_DEFAULT if writable else mmap.ACCESS_READ)
        made.begin(self, address, writable)
        return made


class FakeIoSpace(FakeSpace):
    """What a device reaches: an object for a slot of `FakeObjects`, by which a fake device does its DMA.

    Every access raises `VMFault` where the IOSpace has no such mapping.
    """

    base, end = 0, IO_MAPPING_END

    def read(self, address: int, length: int) -> bytes:
        """What the device reads there."""
        pieces = self.pieces(address, length, Rights.READ)
        return b"".join(os.pread(frame.descriptor, count, start) for frame, start, count in pieces)

    def write(self, address: int, data: Buffer) -> None:
        """What the device writes; nothing, if it cannot write all of it."""
        view = memoryview(data).cast("B")
        done = 0
        for frame, start, count in list(self.pieces(address, len(view), Rights.WRITE)):
            os.pwrite(frame.descriptor, view[done : done + count], start)
            done += count


class FakeMapping(mmap.mmap):
    """Real memory, so that it has the buffer protocol: the frames' own, laid over an anonymous mapping."""

    space: FakeSpace
    address: int
    writable: bool

    def begin(self, space: FakeSpace, address: int, writable: bool) -> None:
        """Show what is mapped there now."""
        self.space, self.address, self.writable = space, address, writable
        self._released = False
        library = ctypes.CDLL(None, use_errno=True)
        library.mmap.restype = ctypes.c_void_p
        protection = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
        at = _address_of(self)
        for frame, offset, count in space.pieces(address, len(self), Rights.READ):
            length = -(-count // _PAGE_BYTES) * _PAGE_BYTES
            flags = mmap.MAP_SHARED | _MAP_FIXED
            place, start = ctypes.c_void_p(at), ctypes.c_long(offset)
            laid = library.mmap(place, ctypes.c_size_t(length), protection, flags, frame.descriptor, start)
            assert laid == at, os.strerror(ctypes.get_errno())
            at += count

    @property
    def size(self) -> int:  # type: ignore[override]  # a file's is a method
        return len(self)

    def read(self, offset: int, length: int, /) -> bytes:  # type: ignore[override]  # a file's has a position
        self._check(offset, length)
        pieces = self.space.pieces(self.address + offset, length, Rights.READ)
        return b"".join(os.pread(frame.descriptor, count, start) for frame, start, count in pieces)

    def write(self, offset: int, data: Buffer, /) -> None:  # type: ignore[override]  # a file's has a position
        view = memoryview(data).cast("B")
        self._check(offset, len(view))
        if not self.writable:
            raise TypeError("this mapping is read-only")
        done = 0
        for frame, start, count in list(self.space.pieces(self.address + offset, len(view), Rights.WRITE)):
            os.pwrite(frame.descriptor, view[done : done + count], start)
            done += count

    def copy(self, offset: int, source: Mapping, source_offset: int, length: int, /) -> None:
        self.write(offset, source.read(source_offset, length))

    def load_word(self, offset: int, /) -> int:
        self._check_word(offset)
        with self.space.words:
            return int.from_bytes(self.read(offset, _WORD_BYTES), "little")

    def store_word(self, offset: int, value: int, /) -> None:
        self._check_word(offset)
        with self.space.words:
            self.write(offset, value.to_bytes(_WORD_BYTES, "little"))

    def store_then_load(self, offset: int, value: int, look: int, /) -> int:
        self.store_word(offset, value)
        return self.load_word(look)

    def load_register(self, offset: int, width: int, /) -> int:
        self._check_register(offset, width)
        return int.from_bytes(self.read(offset, width), "little")

    def store_register(self, offset: int, width: int, value: int, /) -> None:
        self._check_register(offset, width)
        self.write(offset, value.to_bytes(width, "little"))

    def release(self) -> None:
        if not self._released:
            self.close()
        self._released = True

    def _check(self, offset: int, length: int) -> None:
        if self._released or length < 0 or not 0 <= offset <= len(self) - length:
            raise ValueError(f"{length} bytes at {offset} are not in this mapping, or it was released")

    def _check_word(self, offset: int) -> None:
        if offset % _WORD_BYTES or self._released or not 0 <= offset <= len(self) - _WORD_BYTES:
            raise ValueError(f"there is no word at {offset} of this mapping")

    def _check_register(self, offset: int, width: int) -> None:
        if width not in ACCESS_WIDTHS or offset % width:
            raise ValueError(f"there is no register of {width} bytes at {offset}")


class _PyBuffer(ctypes.Structure):
    """Py_buffer, as far as its address is wanted."""

    _fields_ = (("buf", ctypes.c_void_p), ("rest", ctypes.c_void_p * 15))


def _address_of(buffer: mmap.mmap) -> int:
    """Where a buffer lies, read-only or not."""
    view = _PyBuffer()
    ctypes.pythonapi.PyObject_GetBuffer(ctypes.py_object(buffer), ctypes.byref(view), 0)
    address = int(view.buf or 0)
    ctypes.pythonapi.PyBuffer_Release(ctypes.byref(view))
    return address


def _overlap(mapped: Mapped, address: int, size: int) -> bool:
    return mapped.address < address + size and address < mapped.address + mapped.frame.size
