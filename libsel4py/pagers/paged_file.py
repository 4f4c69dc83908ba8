"""A file of a file system as a memory object: one for all who map it, so that they see each other's stores.

Rules: a page is supplied for reading first, and Write granted when a thread writes; so only what was written to is
written back. Whoever may write goes on to be able to when a page is written, since taking that away costs more than all
else: it is written again when it is not as it was written last. That is known of what was written whole: what a write
that has failed left in the file is not, and what could not be synced is to be written again. What stands behind the
file's end within its last page reads as zeroes and is not written: a file never becomes longer by what is stored. A
page wholly behind the end is not there: `Shorter`. Each page is charged to the task that had it read in, until it goes
or another one takes it over. Who maps a copy has an object of his own, whose pages are never written, and stay once
they were stored to.
"""

from __future__ import annotations

import hashlib
from typing import Final

from libsel4py.abi import Rights
from libsel4py.capabilities import Frame, Notification
from libsel4py.errors import InvalidMessage
from libsel4py.interfaces.file import FileError, NotPermitted
from libsel4py.interfaces.memory_object import (
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
from libsel4py.pagers.file_store import FileStore, Held
from libsel4py.pagers.frames import Frames
from libsel4py.pagers.states import Life

DIGEST_BYTES: Final = 32  # no two contents have the same, also of a task that looks for them
MOST_BYTES: Final = 1 << 46  # of a file that anybody can map: there are no more addresses


class Shorter(DataError):
    """The file ends before the page."""


class Share:
    """The pages of files that one task has had read in, ``most`` at most. The oldest comes first."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.pages: dict[tuple[PagedFile, int], None] = {}

    def room(self) -> int:
        """How many more there may be."""
        return self.most - len(self.pages)


class PagedFile(MemoryObject):
    """A file's pages.

    Args:
        store: the file system that has it. is_copy: what is stored stays here, and is never written.
    Attributes:
        holders: by what it is open: one for each mapping of it. failed: why a page could not be read or written last.
    """

    def __init__(self, frames: Frames, store: FileStore, *, is_copy: bool = False) -> None:
        self.is_copy = is_copy
        self.holders: list[Held] = []
        self.failed: FileError | None = None
        self._served: tuple[Share, Held] | None = None
        self._frames, self._store = frames, store
        self._held: dict[int, tuple[Frame, Share]] = {}  # by offset
        self._stored: set[int] = set()  # offsets of pages that may differ from the file
        self._written: dict[int, bytes] = {}  # of those that were written since: what as
        self._unsynced: set[int] = set()  # offsets of pages that were written, and may not be on the medium
        self._life = Life()

    # --- for its owner: offsets of pages

    def serve(self, share: Share, held: Held) -> None:
        """Whose the pages are that are read in from now on, and by which of the holders."""
        self._served = share, held

    def offsets(self, first: int, end: int) -> list[int]:
        """Of the pages that are read in."""
        return [offset for offset in self._held if first <= offset < end]

    def stored(self, first: int, end: int) -> list[int]:
        """Of those that may differ from the file."""
        return sorted(offset for offset in self._stored if first <= offset < end)

    def changed(self, first: int, end: int, page_bytes: int) -> dict[int, bytes]:
        """What those hold that are not as they were written last, by offset."""
        held = {offset: self._contents(offset, page_bytes) for offset in self.stored(first, end)}
        return {offset: data for offset, data in held.items() if self._written.get(offset) != _digest(data)}

    def _contents(self, offset: int, page_bytes: int) -> bytes:
        return self._frames.contents.read(self._held[offset][0], page_bytes)

    def write(self, pages: dict[int, bytes]) -> None:
        """Write pages that follow each other (of `changed`) to the file at once. They may be stored to meanwhile.

        Raises:
            DataError: perhaps not all were written, and none counts as such. Shorter.
        """
        first, *_, last = (*pages, *pages)
        for offset in pages:
            self._written.pop(offset, None)  # a write that fails may have reached the file
        if self._overwrite(first, b"".join(pages.values())) <= last - first:
            self.failed = NotPermitted(f"the file has become shorter, and ends before {last:#x}")
            raise Shorter(str(self.failed))
        self._written |= {offset: _digest(data) for offset, data in pages.items()}
        self._unsynced.update(pages)

    def sync(self, held: Held) -> None:
        """Put what was written on the medium. Raises FileError: what may not be there counts as stored again."""
        unsynced, self._unsynced = self._unsynced, set()
        try:
            self._store.sync(held)
        except BaseException:
            self._stored |= unsynced
            for offset in unsynced:
                self._written.pop(offset, None)
            raise

    def is_written(self, offset: int) -> None:
        """A page is in the file as it is, and nobody can store to it until he asks again."""
        self._stored.discard(offset)
        self._written.pop(offset, None)

    def charged_to(self, share: Share) -> list[int]:
        """Of a task's pages."""
        return [offset for offset, (_, each) in self._held.items() if each is share]

    def recharge(self, offset: int, share: Share) -> None:
        """Let another task have a page."""
        frame, former = self._held[offset]
        del former.pages[self, offset]
        self._held[offset] = frame, share
        share.pages[self, offset] = None

    # --- for its pager

    def init(self, wake: Notification | None) -> int:
        self._life.begin()
        return MOST_BYTES

    def data_request(self, offset: int, length: int, access: int) -> Answer:
        self._ensure(offset, length, access)
        held = self._held.get(offset)
        frame = held[0] if held is not None else self._fetch(offset, length)
        return supplied(frame, self._granted(offset, access))

    def _granted(self, offset: int, access: int) -> int:
        """A page that was stored to is to be written, also where its pager has forgotten it meanwhile."""
        if access & Rights.WRITE:
            self._stored.add(offset)
        return READ_WRITE if offset in self._stored else READ_ONLY

    def _fetch(self, offset: int, length: int) -> Frame:
        if self._served is None or self._served[0].room() <= 0:
            raise DataError("the task has as many pages of files as it may have")
        share, held = self._served
        try:
            data = self._store.read(held, offset, length)
        except (FileError, InvalidMessage) as error:
            self._note(error)
            raise DataError(f"the file could not be read at {offset:#x}: {error}") from error
        if not data:
            raise Shorter(f"the file ends before {offset:#x}")
        frame = self._frames.new(length.bit_length() - 1)
        try:
            self._frames.contents.write(frame, data)
        except BaseException:
            self._frames.free(frame)
            raise
        self._held[offset] = frame, share
        share.pages[self, offset] = None
        return frame

    def data_unlock(self, offset: int, length: int, access: int) -> Answer:
        self._ensure(offset, length, access)
        self._ensure_held(offset)
        return unlocked(self._granted(offset, access))

    def data_return(self, offset: int, length: int, frame: Frame, dirty: bool, keep: bool) -> None:
        self._ensure(offset, length, 0)
        self._ensure_held(offset)
        try:
            if dirty and not (self.is_copy and not keep):
                self._write_back(offset, length)
                self.is_written(offset)
        finally:
            if not keep:
                self._free(offset)

    def _write_back(self, offset: int, length: int) -> None:
        if self.is_copy:
            raise DataError("a copy of a file is not written")
        self.write({offset: self._contents(offset, length)})

    def _overwrite(self, offset: int, data: bytes) -> int:
        """How many bytes the file had there, which are these now."""
        for held in [each for each in self.holders if each.writable]:
            try:
                return self._store.overwrite(held, offset, data)
            except (FileError, InvalidMessage) as error:
                self._note(error)
        raise DataError(f"the file could not be written at {offset:#x}: {self.failed}")

    def _note(self, error: FileError | InvalidMessage) -> None:
        self.failed = error if isinstance(error, FileError) else NotPermitted(str(error))

    def lock_next(self) -> LockRequest | None:
        return None

    def lock_completed(self, ticket: int) -> None:
        """It asks for nothing: its owner is the pager's own task."""

    def attributes(self) -> Attributes:
        return Attributes(copy_strategy=CopyStrategy.TEMPORARY if self.is_copy else CopyStrategy.DELAY)

    def change_completed(self, attributes: Attributes) -> None:
        """They never change."""

    def terminate(self) -> None:
        if self._life.end():
            for offset in list(self._held):
                self._free(offset)

    def _free(self, offset: int) -> None:
        frame, share = self._held.pop(offset)
        self.is_written(offset)
        self._unsynced.discard(offset)
        del share.pages[self, offset]
        self._frames.free(frame)

    def _ensure(self, offset: int, length: int, access: int) -> None:
        self._life.ensure_in_use()
        ensure_page(offset, length, MOST_BYTES)
        if access & Rights.WRITE and not self.is_copy and not any(each.writable for each in self.holders):
            raise DataError("nobody has the file open for writing")

    def _ensure_held(self, offset: int) -> None:
        if offset not in self._held:
            raise DataError(f"the page at {offset:#x} was never supplied")


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES).digest()
