"""A server's bytes as memory that a pager shows to others, while the server goes on reading and writing them itself.

Rules: a page has one frame, of this task's, from its first touch by the pager (or first store, where nothing else keeps
the bytes) until the object goes; both sides see that. What stands behind it (a file, say) is read page by page, and
written at `save` and `close`, those pages alone that somebody may have written to. Its owner says how many pages there
may be.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from libsel4py.abi import Rights
from libsel4py.capabilities import Frame, Notification
from libsel4py.errors import KernelError, NotEnoughMemory
from libsel4py.interfaces.memory_object import (
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
    unlocked,
)
from libsel4py.lowlevel.cspace import OutOfSlots
from libsel4py.pagers.frames import Frames
from libsel4py.pagers.states import Life

Fetch = Callable[[int, int], bytes]
Store = Callable[[int, bytes], object]
MOST_OBJECTS: Final = 8  # of one data space at one time


class DataPages:
    """``size`` bytes.

    Args:
        fetch: bytes from an offset on that no page holds yet, fewer at the end. None: zeroes. store: what keeps them
        beside the pages; None: nothing does. has_room: whether there may be one page more.
    Attributes:
        bytes: the size, for its owner to enlarge.
    """

    def __init__(
        self,
        frames: Frames,
        size: int,
        *,
        has_room: Callable[[], bool] = lambda: True,
        fetch: Fetch | None = None,
        store: Store | None = None,
    ) -> None:
        self.bytes = size
        self.fetch = fetch
        self._frames, self._store, self._has_room = frames, store, has_room
        self._pages: dict[int, Frame] = {}
        self._granted: set[int] = set()  # pages that somebody may have written to since they were stored
        self._objects: list[PagesObject] = []

    # --- for its owner --------------------------------------------------------------------------------------

    @property
    def count(self) -> int:
        """How many pages are here."""
        return len(self._pages)

    def read(self, offset: int, length: int) -> bytes:
        """Fewer bytes only at the end. Raises DataError."""
        data = b""
        for page, at, count in self._parts(offset, min(length, max(0, self.bytes - offset))):
            frame = self._pages.get(page)
            if frame is not None:
                data += self._frames.contents.read(frame, at + count)[at:]
            else:
                data += self._fetched(page, at + count)[at:]
        return data

    def write(self, offset: int, data: bytes) -> None:
        """Bytes within the size. Raises DataError: they cannot be kept."""
        done = 0
        for page, at, count in self._parts(offset, len(data)):
            piece = data[done : done + count]
            done += count
            if page not in self._pages and self._store is not None:
                self._store(page + at, piece)
                continue
            self._frames.contents.write(self._page(page), piece, at)
            self._granted.add(page)

    def save(self) -> None:
        """Store what was written to pages. Raises what ``store`` does."""
        if self._store is None:
            return
        for page in sorted(self._granted):
            self._store(page, self._frames.contents.read(self._pages[page], min(PAGE_BYTES, self.bytes - page)))
        if all(each.life.is_ended for each in self._objects):
            self._granted.clear()

    def close(self) -> None:
        """Save, and have no page any more: who maps them sees them no longer."""
        try:
            self.save()
        finally:
            for each in self._objects:
                each.life.end()
            for frame in self._pages.values():
                self._frames.free(frame)
            self._pages.clear()
            self._granted.clear()

    def _parts(self, offset: int, length: int) -> list[tuple[int, int, int]]:
        """Pages that a range touches: each with where in it the range goes on, and how many bytes."""
        parts, end = [], offset + length
        while offset < end:
            at = offset % PAGE_BYTES
            count = min(PAGE_BYTES - at, end - offset)
            parts.append((offset - at, at, count))
            offset += count
        return parts

    def _fetched(self, page: int, length: int) -> bytes:
        data = self.fetch(page, min(length, self.bytes - page)) if self.fetch is not None else b""
        return data[:length].ljust(length, b"\0")

    def _page(self, page: int) -> Frame:
        frame = self._pages.get(page)
        if frame is not None:
            return frame
        if not self._has_room():
            raise DataError(f"{len(self._pages)} pages of it are in memory already: no more are kept for this client")
        data = self._fetched(page, PAGE_BYTES)
        try:
            frame = self._frames.new(PAGE_BYTES.bit_length() - 1)
        except (NotEnoughMemory, OutOfSlots) as error:
            raise DataError(f"there is no memory for the page at {page:#x}: {error}") from error
        try:
            if any(data):
                self._frames.contents.write(frame, data)
        except BaseException:
            self._frames.free(frame)
            raise
        self._pages[page] = frame
        return frame

    # --- for those that map it ------------------------------------------------------------------------------

    def frame(self, page: int, *, may_write: bool) -> tuple[Frame, bool]:
        """The page's frame, and whether somebody writes to it already. Raises DataError."""
        try:
            frame = self._page(page)
        except KernelError as error:
            raise DataError(f"the page at {page:#x} cannot be had: {error}") from error
        if may_write:
            self._granted.add(page)
        return frame, page in self._granted

    def has(self, page: int) -> bool:
        """Whether the page is here."""
        return page in self._pages

    def object(self, *, writable: bool) -> PagesObject:
        """The same bytes as a memory object, for one pager. There may be several."""
        made = PagesObject(self, writable=writable)
        self._objects = [each for each in self._objects if not each.life.is_ended]
        if len(self._objects) >= MOST_OBJECTS:
            raise DataError(f"{MOST_OBJECTS} pagers have it already")
        self._objects.append(made)
        return made


class PagesObject(MemoryObject):
    """Pages as one pager sees them. Write is granted when a thread writes, so that only what was written is stored."""

    def __init__(self, pages: DataPages, *, writable: bool) -> None:
        self.life = Life()
        self.pages, self._writable = pages, writable
        self._supplied: set[int] = set()

    def init(self, wake: Notification | None) -> int:
        self.life.begin()
        return self.pages.bytes

    def data_request(self, offset: int, length: int, access: int) -> Answer:
        self._ensure(offset, length, access)
        frame, rights = self._grant(offset, access)
        self._supplied.add(offset)
        return supplied(frame, rights)

    def data_unlock(self, offset: int, length: int, access: int) -> Answer:
        self._ensure(offset, length, access)
        self._ensure_supplied(offset)
        return unlocked(self._grant(offset, access)[1])

    def _grant(self, offset: int, access: int) -> tuple[Frame, int]:
        frame, is_written = self.pages.frame(offset, may_write=bool(access & Rights.WRITE))
        return frame, READ_WRITE if self._writable and is_written else READ_ONLY

    def _ensure(self, offset: int, length: int, access: int) -> None:
        self.life.ensure_in_use()
        ensure_page(offset, length, self.pages.bytes)
        if length != PAGE_BYTES:
            raise DataError(f"pages have {PAGE_BYTES} bytes, not {length}")
        if access & Rights.WRITE and not self._writable:
            raise DataError("it was not opened to be written")

    def _ensure_supplied(self, offset: int) -> None:
        if offset not in self._supplied:
            raise DataError(f"the page at {offset:#x} was never supplied")

    def data_return(self, offset: int, length: int, frame: Frame, dirty: bool, keep: bool) -> None:
        self._ensure(offset, length, 0)
        self._ensure_supplied(offset)
        if not keep:
            self._supplied.discard(offset)  # what it holds is in our own frame already

    def lock_next(self) -> LockRequest | None:
        return None

    def lock_completed(self, ticket: int) -> None:
        """It asks for nothing."""

    def attributes(self) -> Attributes:
        return Attributes(copy_strategy=CopyStrategy.NONE)  # its server writes as well

    def change_completed(self, attributes: Attributes) -> None:
        """They never change."""

    def terminate(self) -> None:
        self.life.end()
