"""Memory that begins as zeroes and belongs to no file: the object behind a demand pager.

Its frames are its contents: a page that comes back stays where it is, until the object is terminated. What it is made
of is paid by `Frames`, page by page as it is touched.
"""

from __future__ import annotations

from libsel4py.capabilities import Frame, Notification
from libsel4py.interfaces.memory_object import (
    PAGE_BYTES,
    READ_WRITE,
    Answer,
    Attributes,
    CopyStrategy,
    DataError,
    LockRequest,
    MemoryObject,
    ensure_page,
    supplied,
    unlocked,
)
from libsel4py.pagers.frames import Frames
from libsel4py.pagers.states import Life


class Anonymous(MemoryObject):
    """``size`` bytes of zeroes, at first.

    Raises:
        ValueError: the size is no multiple of a page.
    """

    def __init__(self, frames: Frames, size: int) -> None:
        if size <= 0 or size % PAGE_BYTES:
            raise ValueError(f"{size} bytes are no whole pages of {PAGE_BYTES}")
        self._frames, self._size = frames, size
        self._pages: dict[int, Frame] = {}
        self._life = Life()

    @property
    def pages(self) -> int:
        """How many have been touched."""
        return len(self._pages)

    def fill(self, offset: int, data: bytes) -> None:
        """Let a page that nobody has touched begin as ``data``, its bytes whole. Raises NotEnoughMemory, OutOfSlots."""
        self._pages[offset] = frame = self._frames.new(len(data).bit_length() - 1)
        self._frames.contents.write(frame, data)

    def discard(self) -> None:
        """Free what was filled of an object that no pager has begun to use."""
        self._life.begin()
        self.terminate()

    def init(self, wake: Notification | None) -> int:
        self._life.begin()
        return self._size

    def data_request(self, offset: int, length: int, access: int) -> Answer:
        self._life.ensure_in_use()
        ensure_page(offset, length, self._size)
        frame = self._pages.get(offset)
        if frame is None:
            self._pages[offset] = frame = self._frames.new(length.bit_length() - 1)
        return supplied(frame, READ_WRITE)

    def data_unlock(self, offset: int, length: int, access: int) -> Answer:
        self._ensure_touched(offset, length)
        return unlocked(READ_WRITE)

    def data_return(self, offset: int, length: int, frame: Frame, dirty: bool, keep: bool) -> None:
        self._ensure_touched(offset, length)

    def lock_next(self) -> LockRequest | None:
        return None

    def lock_completed(self, ticket: int) -> None:
        """Nothing is asked for."""

    def attributes(self) -> Attributes:
        return Attributes(copy_strategy=CopyStrategy.TEMPORARY)

    def change_completed(self, attributes: Attributes) -> None:
        """They never change."""

    def terminate(self) -> None:
        if self._life.end():
            for frame in self._pages.values():
                self._frames.free(frame)
            self._pages.clear()

    def _ensure_touched(self, offset: int, length: int) -> None:
        self._life.ensure_in_use()
        ensure_page(offset, length, self._size)
        if offset not in self._pages:
            raise DataError(f"the page at {offset:#x} was never supplied")
