"""A file or another run of bytes as memory: pages are read in when they are touched, and written back when returned.

Rules: a page is supplied for reading first, and Write is granted when a thread writes; so only what was written to
is written back, and flushed. What stands behind the source's end within the last page reads as zeroes and is not
written: a source never becomes longer than ``size``. A page wholly behind its end is left to the pager, as zeroes
(data_unavailable). A source that has become shorter than it was has no such page any more: zeroes that nobody wrote
would be written over what comes there later. A pager in another task is given frames of this one alone, so nothing of
what threads wrote is lost with it: its next life finds all, and what it owed is written back.
"""

from __future__ import annotations

import io
import logging
from collections import deque
from typing import Protocol

from libsel4py.abi import Rights
from libsel4py.capabilities import Frame, Notification
from libsel4py.errors import KernelError
from libsel4py.interfaces.memory_object import (
    MOST_REQUESTS,
    PAGE_BYTES,
    READ_ONLY,
    READ_WRITE,
    Answer,
    Attributes,
    CopyStrategy,
    DataError,
    LockRequest,
    MemoryObject,
    ensure_page,
    supplied,
    unavailable,
    unlocked,
)
from libsel4py.pagers.frames import Frames, why_no_page
from libsel4py.pagers.states import Life, Wake

_log = logging.getLogger(__name__)


class Source(Protocol):
    """What bytes are read from and written to: a `BinaryIO` is one, also without a buffer of its own."""

    def seek(self, offset: int, whence: int = ..., /) -> int: ...
    def read(self, size: int, /) -> bytes | None: ...
    def write(self, data: bytes, /) -> int | None: ...
    def flush(self) -> object: ...


class Blob(MemoryObject):
    """The first ``size`` bytes of a source, as a memory object.

    Args:
        source: its bytes, or the bytes themselves (then nobody but the pager's threads sees what is written).
        size: bytes that threads can see; by default the source's length. writable: whether anybody may write.
    """

    def __init__(
        self, frames: Frames, source: Source | bytes, size: int | None = None, *, writable: bool = True
    ) -> None:
        self._source: Source = io.BytesIO(source) if isinstance(source, bytes) else source
        self._frames, self._writable = frames, writable
        self._length = self._source.seek(0, io.SEEK_END)
        self._size = self._length if size is None else size
        self._held: dict[int, Frame | None] = {}  # by offset; None: the pager made the frame itself
        self._page_bytes = 0  # of each; 0 before the first
        self._granted: dict[int, int] = {}  # bytes of those pages, by offset, that somebody may have written to
        self._wake = Wake()
        self._requests: deque[LockRequest] = deque()
        self._in_a_row = 0  # requests that the pager has been given since it was last told that there are none
        self._tickets = 0
        self._completed = 0
        self._attributes = Attributes()
        self._in_force: Attributes | None = None
        self._life = Life()

    # --- for its owner --------------------------------------------------------------------------------------

    def lock(self, offset: int, length: int, *, clean: bool = False, flush: bool = False, prohibited: int = 0) -> int:
        """Ask the pager (Mach: memory_object_lock_request); returns the ticket, which `is_completed` knows."""
        self._tickets += 1
        self._requests.append(LockRequest(self._tickets, offset, length, clean, flush, prohibited))
        self._wake.signal()
        return self._tickets

    def is_completed(self, ticket: int) -> bool:
        """Whether the pager has carried out a request. It does so in order."""
        return ticket <= self._completed

    def change_attributes(self, *, may_cache: bool, copy_strategy: CopyStrategy = CopyStrategy.DELAY) -> None:
        """Say how the pager may treat the object (Mach: memory_object_change_attributes); see `in_force`."""
        self._attributes = Attributes(may_cache, copy_strategy)
        self._wake.signal()

    @property
    def in_force(self) -> Attributes | None:
        """The attributes that its pager goes by; None if it has no pager."""
        return self._in_force

    # --- for its pager --------------------------------------------------------------------------------------

    def init(self, wake: Notification | None) -> int:
        if self._life.begin():
            self._settle()
        self._wake.begin(wake)
        self._in_force = None
        return self._size

    def _settle(self) -> None:
        """The pager has died, and its mappings with it: do what it had not done. All pages are still held."""
        self._requests.clear()
        self._completed = self._tickets
        for offset, length in list(self._granted.items()):
            frame = self._held[offset]
            try:
                if frame is not None:
                    self._write_back(offset, length, frame)
            except (DataError, KernelError) as error:
                _log.warning("what its pager had left is still to be written back: %s", error)

    def data_request(self, offset: int, length: int, access: int) -> Answer:
        self._ensure(offset, length, access)
        rights = READ_WRITE if access & Rights.WRITE else READ_ONLY
        frame = self._held.get(offset)
        if frame is None:  # never asked for; or the pager made it, and what it wrote there is the source's by now
            frame = self._held[offset] = self._fetch(offset, length)
            self._page_bytes = length
        if offset in self._granted:  # it differs from the source: who has it is to return it
            rights = READ_WRITE
        self._grant(offset, length, rights)
        return unavailable(rights) if frame is None else supplied(frame, rights)

    def _fetch(self, offset: int, length: int) -> Frame | None:
        if offset >= self._length:
            return self._frames.new(length.bit_length() - 1) if self._life.is_remote else None
        try:
            data = self._read(offset, min(length, self._length - offset, self._size - offset))
        except OSError as error:
            raise DataError(f"the source could not be read at {offset:#x}: {error}") from error
        frame = self._frames.new(length.bit_length() - 1)
        self._frames.contents.write(frame, data)
        return frame

    def _read(self, offset: int, length: int) -> bytes:
        self._source.seek(offset)
        data = b""
        while len(data) < length:
            piece = self._source.read(length - len(data))
            if not piece:
                raise DataError(f"the source ends at {offset + len(data):#x}, and had {self._length:#x} bytes")
            data += piece
        return data

    def data_unlock(self, offset: int, length: int, access: int) -> Answer:
        self._ensure(offset, length, access)
        self._ensure_held(offset)
        rights = READ_WRITE if access & Rights.WRITE else READ_ONLY
        self._grant(offset, length, rights)
        return unlocked(rights)

    def _grant(self, offset: int, length: int, rights: int) -> None:
        if rights & Rights.WRITE:
            self._granted[offset] = length

    def data_return(self, offset: int, length: int, frame: Frame, dirty: bool, keep: bool) -> None:
        self._ensure(offset, length, 0)
        self._ensure_held(offset)
        try:
            if dirty:
                self._write_back(offset, length, frame)
        finally:
            if not keep:
                self._granted.pop(offset, None)
                held = self._held.pop(offset)
                if held is not None:
                    self._frames.free(held)

    def _write_back(self, offset: int, length: int, frame: Frame) -> None:
        if not self._writable:
            raise DataError(f"the page at {offset:#x} is dirty, but nobody was to write to it")
        is_lent = frame != self._held[offset]
        strange = why_no_page(frame, length.bit_length() - 1, writable=False) if is_lent else None
        if strange is not None:
            raise DataError(f"{strange} came back as the page at {offset:#x}, and no frame of {length} bytes")
        try:
            data = self._frames.contents.read(frame, min(length, self._size - offset))
        finally:
            if is_lent:  # for this call: its slot's next capability is another
                self._frames.contents.forget(frame)
        try:
            self._write(offset, data)
        except OSError as error:
            raise DataError(f"the source could not be written at {offset:#x}: {error}") from error
        self._length = max(self._length, offset + len(data))
        self._granted.pop(offset, None)

    def _write(self, offset: int, data: bytes) -> None:
        self._source.seek(offset)
        while data:
            written = self._source.write(data)
            if not written:
                raise DataError(f"the source takes nothing at {offset:#x}")
            data = data[written:]
        self._source.flush()

    def lock_next(self) -> LockRequest | None:
        if self._requests and (not self._wake or self._in_a_row < MOST_REQUESTS):
            self._in_a_row += 1
            return self._requests.popleft()
        self._in_a_row = 0
        if self._requests:
            self._wake.signal()  # the rest: there is an end to what a pager does behind one signal
        return None

    def lock_completed(self, ticket: int) -> None:
        self._completed = max(self._completed, min(ticket, self._tickets))

    def attributes(self) -> Attributes:
        if self._in_force is None:
            self._in_force = self._attributes
        return self._attributes

    def change_completed(self, attributes: Attributes) -> None:
        self._in_force = attributes

    def terminate(self) -> None:
        if self._life.end():
            for frame in self._held.values():
                if frame is not None:
                    self._frames.free(frame)
            self._held.clear()
            self._granted.clear()
            self._wake.end()
            self._in_force = None

    def _ensure(self, offset: int, length: int, access: int) -> None:
        self._life.ensure_in_use()
        ensure_page(offset, length, self._size)
        if length != (self._page_bytes or length):
            raise DataError(f"pages of {length} bytes: the pager has such of {self._page_bytes}")
        if access & Rights.WRITE and not self._writable:
            raise DataError("the source is read-only")

    def _ensure_held(self, offset: int) -> None:
        if offset not in self._held:
            raise DataError(f"the page at {offset:#x} was never supplied")


__all__ = ["PAGE_BYTES", "Blob", "Source"]
