"""A pager: answers the page faults of other tasks' threads by mapping pages of memory objects.

    pager = Pager(Frames(task.cnode, task.slots, task.memory))
    space = pager.add_space(vspace)
    pager.add_thread(space, badge, supervisor)
    pager.attach(space, 0x1000_0000_0000, 1 << 20, Anonymous(frames))
    PagerLoop(pager, endpoint, task.new_reply).run()

`Pager` says what becomes of each fault and maps; it never waits. `PagerLoop` (`libsel4py.pagers.loop`) receives and
replies. Rules:

- A fault in a region is answered by a mapping. All else is none of the pager's business: it is passed on to the
  supervisor of the thread as it came, and the thread stops. A guarded access is refused instead, and raises there.
- One fault may map several pages (`Region.ahead`), by one trap.
- A fault at a page that is mapped already is laid anew and answered: two threads faulted at once, or the page was taken
  away behind the pager's back, which the kernel then says.
- Whom a slow object lets wait waits no longer than `patience`; an object that dies fails those that wait for it.
- When the last thread of a space has ended, its mappings are ended: who is started again finds what is in the objects.
- Threads that outlive the pager, and what it had kept for them, find nothing in its place: the next life that is told
  of them as ``lost`` refuses their faults, and their supervisor hears why.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection
from contextlib import ExitStack
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from libsel4py.abi import FRAME_MIN_BITS, FaultLabel, Rights
from libsel4py.capabilities import Endpoint, Notification, Reply, VSpace
from libsel4py.errors import NotEnoughMemory, Timeout
from libsel4py.fault_reports import LOST_WITH_PAGER
from libsel4py.interfaces.memory_object import READ_WRITE, CopyStrategy, LockRequest, MemoryObject
from libsel4py.lowlevel.cspace import OutOfSlots
from libsel4py.lowlevel.syscalls import Message, Received
from libsel4py.pagers.copying import copy_of
from libsel4py.pagers.faults import VM_FAULT_WORDS, VmFault, is_death
from libsel4py.pagers.frames import Frames
from libsel4py.pagers.in_use import FAILURES, ObjectsInUse, failures_logged
from libsel4py.pagers.regions import Region, Space
from libsel4py.pagers.residence import Later, Page
from libsel4py.pagers.shadow import fork

PATIENCE: Final = 5.0  # seconds
_log = logging.getLogger(__name__)


class Verdict(Enum):
    """What becomes of a thread that has faulted."""

    RESUME = "carry the instruction out again"
    REFUSE = "the access failed: the thread stops, or if it was guarded, is told"
    LEAVE = "it stays stopped"
    WAIT = "the page will come"


@dataclass(slots=True)
class Waiter:
    """A thread whose page has not come yet. ``deadline`` in seconds of the pager's clock."""

    fault: VmFault
    message: Received
    deadline: float
    reply: Reply | None = None


@dataclass(slots=True)
class Counts:
    """What a pager has done. ``ahead`` counts pages that were mapped before anybody asked."""

    faults: int = 0
    mapped: int = 0
    ahead: int = 0
    refused: int = 0
    passed_on: int = 0


class Pager:
    """Serves spaces of threads.

    Args:
        frames: where it takes frames and slots from. wake: what objects signal. patience: seconds.
        ended: called when a space's last thread has ended and its mappings are gone, before its supervisor is told.
        failed: called when a fault in a region fails for what its object did, with that.
        caches: objects whose pages stay while no region shows them, if they say ``may_cache``. takes_over: pages that
        are kept here of each object of another task that does not take them back; `frames` must have ``contents``.
    Attributes:
        spare: reply objects of threads that wait no more because they have ended.
    """

    def __init__(
        self,
        frames: Frames,
        wake: Notification | None = None,
        patience: float = PATIENCE,
        clock: Callable[[], float] = time.monotonic,
        ended: Callable[[Space], None] = lambda space: None,
        *,
        caches: int = 0,
        takes_over: int = 0,
        failed: Callable[[Region, Exception], None] = lambda region, error: None,
    ) -> None:
        self.counts = Counts()
        self.spare: list[Reply] = []
        self.waiting: list[Waiter] = []
        self._frames, self._patience, self._clock = frames, patience, clock
        self._objects = ObjectsInUse(frames, wake, patience, caches, takes_over)
        self._ended, self._failed = ended, failed
        self._spaces: dict[int, Space] = {}  # by badge of a thread's faults

    # --- who is served --------------------------------------------------------------------------------------

    def add_space(
        self, vspace: VSpace, name: str = "?", outlived: Collection[int] = (), *, lost: bool = False
    ) -> Space:
        """Serve an address space. It has no regions and no threads yet.

        Args:
            outlived: of the threads to come, those that ran before this pager did (`environment.Paged`), by badge.
            lost: what those had seen is gone, and is not to seem to be zeroes.
        """
        return Space(vspace, name, alive=set(outlived), lost=lost and bool(outlived))

    def add_thread(self, space: Space, badge: int, supervisor: Endpoint | None = None) -> None:
        """Serve a thread whose fault endpoint has this badge; all other faults of it go to ``supervisor``.

        Raises:
            ValueError: another thread has the badge.
        """
        if badge in self._spaces:
            raise ValueError(f"badge {badge:#x} is a thread of {self._spaces[badge].name} already")
        self._spaces[badge] = space
        space.threads[badge] = supervisor

    def remove_space(self, space: Space) -> None:
        """Serve a space no more: its mappings are ended, its objects are used no more unless others use them.

        Raises:
            RETURN_FAILURES: an object did not take something back; the space is gone nevertheless.
        """
        with ExitStack() as stack:
            for region in space.regions:
                stack.callback(self.detach, region)
            for badge in space.threads:
                del self._spaces[badge]
                self._stop_waiting(badge)
            space.threads.clear()

    def is_thread(self, badge: int) -> bool:
        """Whether a badge is that of a thread's faults."""
        return badge in self._spaces

    # --- what they see --------------------------------------------------------------------------------------

    def attach(
        self,
        space: Space,
        address: int,
        size: int,
        source: MemoryObject,
        offset: int = 0,
        rights: int = READ_WRITE,
        *,
        ahead: int = 0,
        page_bits: int = FRAME_MIN_BITS,
    ) -> Region:
        """Show an object's bytes from ``offset`` on at an address.

        Args:
            ahead: how many pages behind a faulting one to map along with it. page_bits: log2 of a page's bytes.
        Raises:
            ValueError: as `Space.insert`, or the object is in use with pages of another size.
            OBJECT_FAILURES: the object refuses to be used.
        """
        residence = self._objects.use(source, page_bits)
        region = Region(space, address, size, residence, offset, int(rights), ahead)
        try:
            space.insert(region)
        except ValueError:
            if not residence.regions:
                self._objects.release(residence)
            raise
        residence.regions.append(region)
        return region

    def detach(self, region: Region) -> None:
        """Show a region no more. An object that no region shows is given everything back, and used no more.

        One that may be cached, where this pager caches objects, has what is dirty back, and keeps its pages here.

        Raises:
            RETURN_FAILURES: the object did not take something back; the region is gone nevertheless.
        """
        space, residence = region.space, region.residence
        space.remove(region)
        for address in [each for each in space.mapped if region.address <= each < region.end]:
            residence.unmap(space, address)
        residence.regions.remove(region)
        if not residence.regions:
            self._objects.release(residence)

    def rest(self, region: Region) -> None:
        """Nobody looks at a region's object for now: as `detach`, if it may be cached, else as `give_back`.

        Raises:
            RETURN_FAILURES: the object did not take something back; the rest was given.
        """
        region.residence.rest()

    def give_back(self, region: Region) -> None:
        """Return all pages of a region's object, and what is dirty with its contents; who touches them has them again.

        Raises:
            RETURN_FAILURES: the object did not take something back; the rest was given.
        """
        residence = region.residence
        residence.lock(LockRequest(0, 0, residence.size, flush=True))

    def resize(self, region: Region, size: int) -> None:
        """Show more or less of the object. The tail's mappings end; the object keeps what is in it.

        Raises:
            ValueError: as `Space.insert`; nothing has changed.
        """
        space, former_end = region.space, region.end
        space.remove(region)
        trial = replace(region, size=size)
        try:
            space.insert(trial)
            space.remove(trial)
            region.size = size
        finally:
            space.insert(region)
        for address in [each for each in space.mapped if region.end <= each < former_end]:
            region.residence.unmap(space, address)

    def move(self, region: Region, space: Space, address: int) -> None:
        """Show a region elsewhere, in this space or another one, and no more where it was; nothing is copied.

        Raises:
            ValueError: as `Space.insert`; nothing has changed.
        """
        former = region.space
        pages = [each for each in former.mapped if region.address <= each < region.end]
        trial = replace(region, space=space, address=address)
        space.insert(trial)
        space.remove(trial)
        for page in pages:
            region.residence.unmap(former, page)
        former.remove(region)
        region.space, region.address = space, address
        space.insert(region)

    def fork(self, region: Region, space: Space, address: int | None = None) -> Region:
        """Show in ``space`` what ``region`` holds now, as a copy that is made page by page when either side writes.

        Threads of both go on reading the same frames; the first write to a page copies it for the side that writes.
        All other regions of the same object stay with ``region``'s side. What another task's object holds, or one whose
        copy strategy is NONE, is copied at once; ``region`` then goes on showing that object.

        Raises:
            ValueError: as `Space.insert`. FAILURES, VMFault: what is there cannot be had. Nothing has changed.
        """
        former = region.residence
        target = Region(space, region.address if address is None else address, region.size, former, region.offset, 0, 0)
        target.rights, target.ahead = region.rights, region.ahead
        space.insert(target)
        try:
            if former.is_remote or former.attributes.copy_strategy is CopyStrategy.NONE:
                self._show(target, copy_of(region, self._frames))
                return target
            former.lock(LockRequest(0, 0, former.size, clean=True, prohibited=int(Rights.WRITE)))
        except BaseException:
            space.remove(target)
            raise
        mine, theirs = fork(former.source, former.size, self._frames)
        shown, former.regions = former.regions, []
        self._objects.replace(former)
        for each in shown:
            self._show(each, mine)
        self._show(target, theirs)
        former.hand_over(region.residence)
        return target

    def _show(self, region: Region, source: MemoryObject) -> None:
        region.residence = self._objects.use(source, region.residence.page_bytes.bit_length() - 1)
        region.residence.regions.append(region)

    # --- faults ---------------------------------------------------------------------------------------------

    def fault(self, message: Received) -> Verdict:
        """What becomes of a thread whose fault message came; what there is to map is mapped when this returns.

        After `Verdict.WAIT` the thread is the last of `waiting`, and its reply is the caller's to keep there.
        """
        self.counts.faults += 1
        space = self._spaces.get(message.badge)
        if space is None:
            _log.warning("a fault message with badge %#x is no thread's that is served here", message.badge)
            return Verdict.LEAVE
        fault = VmFault.of(message)
        if fault is None:
            self._not_ours(space, message)
            return Verdict.LEAVE
        space.alive.add(fault.badge)
        verdict = self._resolve(space, fault, message)
        if verdict is Verdict.WAIT:
            self.waiting.append(Waiter(fault, message, self._clock() + self._patience))
        return verdict

    def woken(self) -> list[tuple[Waiter, Verdict]]:
        """An object has signalled: look after what objects want, and who need not wait any more."""
        self._objects.woken()
        return self._retry(self.waiting)

    def expired(self) -> list[tuple[Waiter, Verdict]]:
        """Those that have waited too long: they are refused."""
        now = self._clock()
        late = [waiter for waiter in self.waiting if waiter.deadline <= now]
        self.waiting = [waiter for waiter in self.waiting if waiter.deadline > now]
        return [
            (each, self._refuse(self._spaces[each.fault.badge], each.fault, each.message, "timed out")) for each in late
        ]

    @property
    def next_deadline(self) -> float | None:
        """Seconds from now until somebody has waited too long; None if nobody waits."""
        if not self.waiting:
            return None
        return max(0.0, min(waiter.deadline for waiter in self.waiting) - self._clock())

    def _retry(self, waiters: list[Waiter]) -> list[tuple[Waiter, Verdict]]:
        done: list[tuple[Waiter, Verdict]] = []
        self.waiting = []
        for waiter in waiters:
            verdict = self._resolve(self._spaces[waiter.fault.badge], waiter.fault, waiter.message)
            if verdict is Verdict.WAIT:
                self.waiting.append(waiter)
            else:
                done.append((waiter, verdict))
        return done

    def _not_ours(self, space: Space, message: Received) -> None:
        """Any fault but of memory; an ended thread's mappings are ended before anybody is told, who may restart it.

        NULL_FAULT says that a thread has ended of which no fault tells: whoever destroyed it sends that.
        """
        is_told = message.label == FaultLabel.NULL_FAULT
        if is_told or is_death(message):
            self._stop_waiting(message.badge)
            space.alive.discard(message.badge)
            if not space.alive:
                space.lost = False
                self.clear(space)
                with failures_logged(f"the end of {space.name}"):  # its supervisor is to be told in every case
                    self._ended(space)
        if not is_told:
            self._pass_on(space, message)

    def _stop_waiting(self, badge: int) -> None:
        gone = [each for each in self.waiting if each.fault.badge == badge]
        self.waiting = [each for each in self.waiting if each.fault.badge != badge]
        self.spare += [each.reply for each in gone if each.reply is not None]

    def clear(self, space: Space) -> None:
        """End all mappings of a space; its regions stay."""
        for region in space.regions:
            for address in [each for each in space.mapped if region.address <= each < region.end]:
                region.residence.unmap(space, address)

    def _pass_on(self, space: Space, message: Received) -> None:
        supervisor = space.threads[message.badge]
        self.counts.passed_on += 1
        if supervisor is None:
            _log.warning("%s: fault %d at badge %#x stays unanswered", space.name, message.label, message.badge)
            return
        try:
            supervisor.send(Message(message.label, message.words), timeout=self._patience)
        except Timeout:
            _log.error("%s: its supervisor took no fault message in %s s", space.name, self._patience)

    def _refuse(self, space: Space, fault: VmFault, message: Received, why: str) -> Verdict:
        self.counts.refused += 1
        if not fault.guarded:
            _log.warning("%s: no memory at %#x (instruction %#x): %s", space.name, fault.address, fault.ip, why)
            self._pass_on(space, message)
        return Verdict.REFUSE

    def _refuse_lost(self, space: Space, fault: VmFault, message: Received) -> Verdict:
        self.counts.refused += 1
        if not fault.guarded:
            _log.warning("%s: what was at %#x was lost with a former life of this pager", space.name, fault.address)
            words = (*message.words[:VM_FAULT_WORDS], LOST_WITH_PAGER)
            self._pass_on(space, message._replace(words=words))
        return Verdict.REFUSE

    def _resolve(self, space: Space, fault: VmFault, message: Received) -> Verdict:
        if space.lost:
            return self._refuse_lost(space, fault, message)
        region = space.find(fault.address)
        if region is None:
            return self._refuse(space, fault, message, "no region there")
        if fault.fetch or fault.access & ~region.rights:
            return self._refuse(space, fault, message, "the region does not give that right")
        try:
            self._provide_in_room(region, region.offset_of(fault.address), fault.access)
        except Later:
            return Verdict.WAIT
        except FAILURES as error:
            self._failed(region, error)
            return self._refuse(space, fault, message, str(error))
        return Verdict.RESUME

    def _provide_in_room(self, region: Region, offset: int, access: int) -> None:
        """As `_provide`; objects that nobody looks at make room, if need be."""
        while True:
            try:
                self._provide(region, offset, access)
                return
            except (NotEnoughMemory, OutOfSlots):
                if not self._objects.shrink():
                    raise

    def _provide(self, region: Region, offset: int, access: int) -> None:
        """Let a region's space see a page. Raises Later, FAILURES."""
        residence, address = region.residence, region.address_of(offset)
        page = residence.ensure(offset, access)
        mapped = region.space.mapped.get(address)
        if mapped is not None:
            if residence.remap(region, mapped) is None:
                return
            residence.unmap(region.space, address)
        pages = [page, *self._ahead(region, offset)]
        errors = residence.map(region, pages)
        if errors[0] is not None and page.is_own:
            raise errors[0]
        if errors[0] is not None:  # its object has taken the page away: once more from the beginning
            residence.forget(page)
            page = residence.ensure(offset, access)
            (error,) = residence.map(region, [page])
            if error is not None:
                raise error
        for other, error in zip(pages[1:], errors[1:], strict=True):
            if error is not None and not other.is_own:
                residence.forget(other)
        self.counts.mapped += errors.count(None)
        self.counts.ahead += errors[1:].count(None)

    def _ahead(self, region: Region, offset: int) -> list[Page]:
        """The pages behind one that can be had now and are not mapped yet: for reading, which disturbs nobody."""
        residence, pages = region.residence, list[Page]()
        for number in range(1, region.ahead + 1):
            following = offset + number * residence.page_bytes
            address = region.address_of(following)
            if address >= region.end or address in region.space.mapped:
                break
            try:
                pages.append(residence.ensure(following, int(Rights.READ)))
            except (Later, *FAILURES):
                break
        return pages
