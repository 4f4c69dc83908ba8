"""Which pages of one memory object are resident, and where they are mapped.

Rules: what an object answers is checked, since it may be another task's: its rights, its frame's type and size. A page
has one frame at a time, and all mappings of it are of that frame; so all who map an object see the same bytes. Before a
page is given back nobody can write to it any more.

What another task's object does not take back, because it is dead, slow or unwilling, the pager takes over in a frame of
its own (Mach's default pager), until the object takes it: nobody's writes are lost by it, and threads go on with them.
What stood in frames of a dead task is gone with that. No object has more than ``takes_over`` such pages.

An object that wants ever more of its pager is used no more, so that others go on: it is given back what is dirty, as
far as it takes that in time, and whoever touches its pages from then on has a memory error that says why.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from libsel4py.abi import FRAME_MIN_BITS, Rights, VMFault
from libsel4py.capabilities import Frame, Notification
from libsel4py.errors import InvalidMessage, KernelError, RemoteError, ServerDied, ServiceError
from libsel4py.interface import is_declaration, with_timeout
from libsel4py.interfaces.memory_object import (
    READ_WRITE,
    Answer,
    Attributes,
    CopyStrategy,
    DataError,
    LockRequest,
    MemoryObject,
    Supply,
)
from libsel4py.lowlevel.cspace import OutOfSlots
from libsel4py.pagers.frames import Frames, Wanted, why_no_page
from libsel4py.pagers.regions import Mapped, Region, Space
from libsel4py.pagers.wanted import Unending, wanted_by

# What another task's object can do to its caller: die, be slow, answer nonsense, or refuse, by whatever exception.
OBJECT_FAILURES: Final = (ServiceError, ServerDied, TimeoutError, RemoteError, InvalidMessage)
RETURN_FAILURES: Final = (*OBJECT_FAILURES, KernelError)
_log = logging.getLogger(__name__)


class Later(Exception):
    """The object has not got the data yet; it will signal."""


class Origin(Enum):
    """Whose a page's frame is, which says how it is let go."""

    OBJECTS = "the object's, in this task"
    RECEIVED = "a capability that the object sent"
    OURS = "made by the pager, which left it as zeroes"
    TAKEN_OVER = "made by the pager, since the object did not take its own back"


@dataclass(slots=True, eq=False)
class Page:
    """A resident page.

    Attributes:
        frame: the capability that its mappings are copies of. rights: what the object granted. dirty: it may differ
        from what the object has. mappings: by space and address.
    """

    offset: int
    frame: Frame
    origin: Origin
    rights: int
    dirty: bool = False
    mappings: dict[tuple[Space, int], Mapped] = field(default_factory=dict)

    @property
    def is_own(self) -> bool:
        """Whether the frame is the pager's, and nobody else has what it holds."""
        return self.origin in (Origin.OURS, Origin.TAKEN_OVER)


class Residence:
    """A memory object in use by a pager.

    Args:
        source: the object, or a client of another task's. frames: where frames and slots come from.
        page_bits: log2 of a page's bytes. patience: seconds that another task's object may take for an answer.
        wake: what the object signals. takes_over: pages of another task's object, at most.
    Attributes:
        attributes: how the object may be treated, as it has said last. ended: why it is used no more, or None.
    Raises:
        DataError: the object refuses to be used.
    """

    def __init__(
        self,
        source: MemoryObject,
        frames: Frames,
        page_bits: int = FRAME_MIN_BITS,
        patience: float | None = None,
        wake: Notification | None = None,
        takes_over: int = 0,
    ) -> None:
        self.is_remote = is_declaration(type(source))
        self.given = source  # what its user knows it by
        self.source = with_timeout(source, patience) if self.is_remote else source
        self.page_bytes = 1 << page_bits
        self.size = self.source.init(wake)
        self.attributes = self.source.attributes()
        self.pages: dict[int, Page] = {}
        self.awaited: set[int] = set()  # offsets that the object will signal for
        self.regions: list[Region] = []
        self._frames = frames
        self._page_bits = page_bits
        self._takes_over = takes_over if self.is_remote else 0
        self._waits_once = self._takes_over > 0
        self._silent: TimeoutError | None = None  # of the object, while pages are returned one after the other
        self.ended: str | None = None
        self._patience = patience if self.is_remote else None
        self._returns_by: float | None = None  # of time.monotonic: when an ended object has had its time

    # --- getting ------------------------------------------------------------------------------------------

    def ensure(self, offset: int, access: int) -> Page:
        """The page, with at least these rights.

        Raises:
            Later: the object will signal. OBJECT_FAILURES: there is no such page. NotEnoughMemory, OutOfSlots.
        """
        if self.ended is not None:
            raise DataError(self.ended)
        page = self.pages.get(offset)
        if page is not None and not access & ~page.rights:
            return page
        if offset in self.awaited:
            raise Later
        if offset >= self.size or offset < 0:
            raise DataError(f"offset {offset:#x} is behind the object's {self.size} bytes")
        if page is not None and page.origin is Origin.TAKEN_OVER:
            self._offer([page])
            if offset in self.pages:
                raise DataError(f"the object has not taken back what was written at {offset:#x}, and forbids more")
            page = None
        if page is None:
            return self._request(offset, access)
        return self._unlock(page, access)

    def _request(self, offset: int, access: int) -> Page:
        kind, rights, frame = self._checked(offset, self.source.data_request(offset, self.page_bytes, access), access)
        if kind is Supply.UNAVAILABLE:
            page = Page(offset, self._frames.new(self._page_bits), Origin.OURS, rights)
        elif frame is not None and kind is Supply.SUPPLIED:
            page = Page(offset, frame, Origin.RECEIVED if self.is_remote else Origin.OBJECTS, rights)
        else:
            raise InvalidMessage(f"the object answered a request for data with {kind.name}")
        page.dirty = bool(rights & Rights.WRITE)
        self.pages[offset] = page
        return page

    def _unlock(self, page: Page, access: int) -> Page:
        answer = self.source.data_unlock(page.offset, self.page_bytes, access)
        kind, rights, frame = self._checked(page.offset, answer, access)
        if frame is not None:
            self._unmap([page])
            self._let_go(page)
            page.frame, page.origin = frame, Origin.RECEIVED if self.is_remote else Origin.OBJECTS
        elif kind is not Supply.UNLOCKED:
            raise InvalidMessage(f"the object answered a request for rights with {kind.name}")
        page.rights |= rights
        page.dirty |= bool(rights & Rights.WRITE)
        return page

    def _checked(self, offset: int, answer: Answer, access: int) -> tuple[Supply, int, Frame | None]:
        """An answer that makes sense; a frame that came with one that does not is dropped."""
        number, rights, frame = answer
        kind = Supply(number) if number in list(Supply) else None
        if kind is Supply.LATER:
            self._refuse_frame(frame)
            self.awaited.add(offset)
            raise Later
        if kind is None or access & ~rights or rights & ~READ_WRITE or (kind is Supply.SUPPLIED) != (frame is not None):
            self._refuse_frame(frame)
            raise InvalidMessage(f"the object's answer makes no sense: kind {number}, rights {rights:#x}, {frame}")
        if frame is not None and self.is_remote:
            strange = why_no_page(frame, self._page_bits, writable=bool(rights & Rights.WRITE))
            if strange is not None:
                self._refuse_frame(frame)
                raise InvalidMessage(f"the object supplied {strange}, not a frame of 2**{self._page_bits} bytes")
        return kind, rights, frame

    def _refuse_frame(self, frame: Frame | None) -> None:
        if frame is not None and self.is_remote:
            self._frames.drop(frame)

    # --- mapping ------------------------------------------------------------------------------------------

    def wanted(self, region: Region, page: Page) -> Wanted:
        """The mapping of a page in a region, with all rights that both give."""
        return Wanted(page.frame.cptr, region.space.vspace, region.address_of(page.offset), page.rights & region.rights)

    def map(self, region: Region, pages: list[Page]) -> list[KernelError | None]:
        """Map pages that the region's space does not see yet; for each None, or why the kernel refused it."""
        wanted = [self.wanted(region, page) for page in pages]
        errors: list[KernelError | None] = []
        for page, each, made in zip(pages, wanted, self._frames.map(wanted), strict=True):
            if isinstance(made, KernelError):
                errors.append(made)
                continue
            mapped = Mapped(page, made, each.rights)
            page.mappings[region.space, each.address] = region.space.mapped[each.address] = mapped
            errors.append(None)
        return errors

    def remap(self, region: Region, mapped: Mapped) -> KernelError | None:
        """Lay a mapping that stands anew, with all rights that page and region give."""
        wanted = self.wanted(region, mapped.page)
        (error,) = self._frames.remap([(mapped.frame, wanted)])
        mapped.rights = wanted.rights
        return error

    def unmap(self, space: Space, address: int) -> None:
        """End one mapping."""
        mapped = space.mapped.pop(address)
        del mapped.page.mappings[space, address]
        self._frames.drop(mapped.frame)

    def _unmap(self, pages: Sequence[Page]) -> None:
        self._frames.drop_all([mapped.frame for page in pages for mapped in page.mappings.values()])
        for page in pages:
            for space, address in page.mappings:
                del space.mapped[address]
            page.mappings.clear()

    # --- giving back --------------------------------------------------------------------------------------

    def lock(self, request: LockRequest) -> None:
        """Carry out what the object, or its user, wants of resident pages; what cannot be returned is reported.

        Raises:
            RETURN_FAILURES: the object did not take a page back, and it was not taken over. The others are done.
        """
        failed: list[Exception] = []
        self._silent = None
        end = request.offset + request.length
        pages = [each for each in self.pages.values() if request.offset <= each.offset < end]
        granted = {each.offset: each.rights & ~request.prohibited for each in pages}
        self._take_rights([each for each in pages if request.prohibited & each.rights], request.prohibited)
        if request.flush:
            self._unmap(pages)
        elif request.clean:
            pages = [each for each in pages if each.dirty]
            self._take_rights(pages, Rights.WRITE)
        for page in pages if request.flush or request.clean else ():
            try:
                self._give(page, granted[page.offset], keep=not request.flush)
            except RETURN_FAILURES as error:
                failed.append(error)
        if failed:
            raise failed[0]

    def _give(self, page: Page, rights: int, *, keep: bool) -> None:
        """Return a page that nobody can write to; forget it unless it is kept, or taken over with these rights.

        Raises:
            RETURN_FAILURES: the object did not take it.
        """
        try:
            self._return(page, keep=keep)
        except BaseException as error:
            if isinstance(error, TimeoutError) and self._waits_once:
                self._silent = error  # it is not waited for again with each page
            if isinstance(error, RETURN_FAILURES) and self._take_over(page, rights):
                _log.warning("the page at %#x stays here: its object did not take it back: %s", page.offset, error)
                return
            if not keep:
                self.forget(page)
            raise
        page.dirty = False
        if not keep or page.origin is Origin.TAKEN_OVER:  # what the object itself has of that is older
            self.forget(page)

    def _return(self, page: Page, *, keep: bool) -> None:
        if self._silent is None and self._returns_by is not None and time.monotonic() > self._returns_by:
            self._silent = TimeoutError("the object took too long to take its pages back")
        if self._silent is not None:
            raise self._silent
        keep = keep and page.origin is not Origin.TAKEN_OVER
        dirty = page.dirty
        if dirty and not keep and self._takes_over:  # in two steps: who cannot have it is not to let go of the page
            self.source.data_return(page.offset, self.page_bytes, page.frame, True, True)
            dirty = page.dirty = False
        self.source.data_return(page.offset, self.page_bytes, page.frame, dirty, keep)

    def _take_over(self, page: Page, rights: int) -> bool:
        """Keep what a dirty page holds in a frame of the pager's own; whether that could be."""
        if not page.dirty or not self._takes_over or page.origin is Origin.OBJECTS:
            return False
        if page.origin is Origin.RECEIVED and not self._copy(page):
            return False
        page.rights = rights
        return True

    def _copy(self, page: Page) -> bool:
        if sum(each.origin is Origin.TAKEN_OVER for each in self.pages.values()) >= self._takes_over:
            return False
        try:
            frame = self._frames.new(self._page_bits)
        except (KernelError, OutOfSlots):
            return False
        try:
            self._frames.contents.write(frame, self._frames.contents.read(page.frame, self.page_bytes))
        except (KernelError, OutOfSlots, VMFault):  # the frame went with its task, or there is no room to look at it
            self._frames.free(frame)
            return False
        self._unmap([page])
        self._let_go(page)
        page.frame, page.origin = frame, Origin.TAKEN_OVER
        return True

    def _offer(self, pages: Sequence[Page]) -> None:
        """Ask the object once more to take what was taken over. It stays where it does not."""
        self._silent = None
        self._unmap(pages)
        for page in pages:
            self._give(page, page.rights, keep=False)

    def hide(self) -> None:
        """Let nobody see any page until he touches it again."""
        self._unmap(list(self.pages.values()))

    def rest(self) -> None:
        """Nobody looks at the object now: what is dirty goes back, and all else unless it may be cached.

        Raises:
            RETURN_FAILURES: the object did not take a page back.
        """
        may_cache = self.attributes.may_cache
        self.lock(LockRequest(0, 0, self.size, clean=may_cache, flush=not may_cache))

    def withdraw(self, offsets: Sequence[int]) -> None:
        """Let nobody see these pages until he touches them again, and nobody store to them until the object says so."""
        pages = [self.pages[each] for each in offsets if each in self.pages]
        self._unmap(pages)
        for page in pages:
            page.rights &= ~Rights.WRITE

    def is_written(self, offset: int) -> None:
        """The object has what a withdrawn page holds."""
        if offset in self.pages:
            self.pages[offset].dirty = False

    def evict(self, page: Page) -> None:
        """Unmap a page everywhere and give it back. Raises OBJECT_FAILURES; the page is forgotten then as well."""
        self._unmap([page])
        del self.pages[page.offset]
        try:
            self.source.data_return(page.offset, self.page_bytes, page.frame, page.dirty, False)
        finally:
            self._let_go(page)

    def forget(self, page: Page) -> None:
        """A page is resident no more, or its object took it away; its mappings end."""
        self._unmap([page])
        self.pages.pop(page.offset, None)
        self._let_go(page)

    def close(self) -> None:
        """Return everything, unless it is temporary, and use the object no more.

        Another task's object that is too slow for one page is given no other one, since all whom the pager serves wait.

        Raises:
            RETURN_FAILURES: the object did not take something back, which is lost.
        """
        if self.ended is not None and self._returns_by is None:
            return
        self._takes_over, self._waits_once = 0, self.is_remote
        try:
            if self.attributes.copy_strategy is CopyStrategy.TEMPORARY:
                for page in list(self.pages.values()):
                    self.forget(page)
            else:
                self.lock(LockRequest(0, 0, self.size, flush=True))
        finally:
            self.source.terminate()

    def requests(self) -> None:
        """Carry out all that the object wants of its pager, which has signalled (`MemoryObject.lock_next`)."""
        if self.ended is not None:
            return
        attributes = self.source.attributes()
        if attributes != self.attributes:
            self.attributes = attributes
            self.source.change_completed(attributes)
        self._offer([each for each in self.pages.values() if each.origin is Origin.TAKEN_OVER])
        try:
            for request in wanted_by(self.source, self._patience):
                with suppress(DataError):  # the object itself refused what it had asked for
                    self.lock(request)
        except Unending as error:
            self._end(str(error))

    def _end(self, why: str) -> None:
        """Use the object no more, though regions show it. It is given back what is dirty for ``patience`` at most.

        Raises:
            RETURN_FAILURES: the object did not take something back, which is lost.
        """
        _log.warning("an object is used no more, and its pages are gone: %s", why)
        self.ended = f"it is used no more: {why}"
        self._returns_by = time.monotonic() + self._patience if self._patience is not None else math.inf
        try:
            self.close()
        finally:
            self.attributes = Attributes()  # nothing of it is kept
            self._returns_by = None

    def abandon(self, why: str) -> None:
        """As `_end`, of an object that is asked nothing more, not even to take its pages back: they are lost."""
        _log.warning("an object is used no more, and what was written there is lost: %s", why)
        self.ended = f"it is used no more: {why}"
        self.attributes = Attributes()
        for page in list(self.pages.values()):
            self.forget(page)

    def hand_over(self, other: Residence) -> None:
        """Let another residence have all pages with their mappings; nobody can write to them, nor will be able to."""
        other.pages, self.pages = self.pages, {}

    def _take_rights(self, pages: Sequence[Page], rights: int) -> None:
        """Take rights away from pages and all their mappings, by one trap."""
        changes: list[tuple[Frame, Wanted]] = []
        for page in pages:
            page.rights &= ~rights
            for (space, address), mapped in page.mappings.items():
                mapped.rights &= ~rights
                changes.append((mapped.frame, Wanted(0, space.vspace, address, mapped.rights)))
        self._frames.remap(changes)  # what the kernel refuses is gone already

    def _let_go(self, page: Page) -> None:
        if page.is_own:
            self._frames.free(page.frame)
        elif page.origin is Origin.RECEIVED:
            self._frames.drop(page.frame)


__all__ = ["OBJECT_FAILURES", "RETURN_FAILURES", "Later", "OutOfSlots", "Page", "Residence"]
