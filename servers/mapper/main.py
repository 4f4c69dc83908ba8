"""The mapper: tasks that map pages of their memory to each other, and take them back (L4's map, grant, unmap, flush).

It is the pager of these tasks. The one that the setting ``owner`` names finds zeroes wherever it touches its paged
memory; the others have there what was mapped to them, and nothing else. Rules: who calls is known by its connection, so
nobody maps or unmaps what is another's; nothing appears where a task has not said that it takes it. A task that ends
loses its pages, and so do all who had them from it. A page that nobody has any more is free again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from libsel4py import component
from libsel4py.abi import FRAME_MIN_BITS, Rights
from libsel4py.capabilities import Endpoint, VSpace
from libsel4py.environment import PAGED_ADDRESS, Paged
from libsel4py.errors import KernelError
from libsel4py.interfaces.mapper import Mapper, NotTaken
from libsel4py.lowlevel.cspace import OutOfSlots
from libsel4py.lowlevel.machine import Words
from libsel4py.lowlevel.syscalls import Received
from libsel4py.pager import Pager, Verdict
from libsel4py.pagers.faults import VmFault
from libsel4py.pagers.flexpages import PAGE_BYTES, READ, WRITE, Flexpage, MappingDatabase, SpaceId, overlap
from libsel4py.pagers.frames import Frames
from libsel4py.pagers.regions import Space
from libsel4py.pagers.service import REFUSE, RESUME


@dataclass(slots=True)
class Member:
    """A task that takes part. ``window`` is what it lets ``sender`` (anybody, if empty) map into."""

    number: SpaceId
    vspace: VSpace
    space: Space
    size: int
    window: Flexpage | None = None
    sender: str = ""


@component
class Main(Mapper):
    """The mapper."""

    def start(self) -> None:
        task = self.task
        self._frames = Frames(task.cnode, task.slots, task.memory)
        self._database = MappingDatabase(self._frames)
        self._pager = Pager(
            self._frames, ended=self._ended
        )  # it has no regions: it knows who has ended, and whom to tell
        self._members: dict[str, Member] = {}
        self._threads: dict[int, Member] = {}
        for number, (name, paged) in enumerate(task.environment.paged.items()):
            self._add(SpaceId(number), name, paged)
        owner = str(task.environment.configuration["owner"])
        if owner not in self._members:
            known = ", ".join(self._members) or "none"
            raise LookupError(f"owner {owner!r} is none of the tasks whose pager is {task.name}: these are {known}")
        self._owner = self._members[owner]

    def _add(self, number: SpaceId, name: str, paged: Paged) -> None:
        vspace = VSpace(paged.vspace)
        space = self._pager.add_space(vspace, name, paged.outlived, lost=True)
        self._members[name] = member = Member(number, vspace, space, paged.size)
        self._database.add_space(number, vspace)
        for badge, supervisor in paged.supervisors.items():
            self._pager.add_thread(member.space, badge, Endpoint(supervisor))
            self._threads[badge] = member

    # --- what tasks ask -------------------------------------------------------------------------------------

    def accept(self, window: int, sender: str) -> None:
        member = self._caller()
        if not window:
            member.window = None
            return
        page = _flexpage(window)
        if page.base < PAGED_ADDRESS or page.base + page.size > PAGED_ADDRESS + member.size:
            raise NotTaken(f"window {page.base:#x} + {page.size:#x} is not all in your paged memory")
        member.window, member.sender = page, sender

    def map(self, send: int, receiver: str, hot_spot: int) -> int:
        source, target, page, base = self._meeting(send, receiver, hot_spot)
        with self._failures():
            return self._database.map(source, page, target, base)

    def grant(self, send: int, receiver: str, hot_spot: int) -> int:
        source, target, page, base = self._meeting(send, receiver, hot_spot)
        with self._failures():
            return self._database.grant(source, page, target, base)

    def unmap(self, page: int, own: bool) -> int:
        taken = self._database.unmap(self._caller().number, _flexpage(page), own=own)
        self._free_unused()
        return taken

    def _caller(self) -> Member:
        member = self._members.get(self.caller.name)
        if member is None:
            raise NotTaken(f"{self.caller.name} has no memory of this mapper: its description says no pager = …")
        return member

    def _meeting(self, send: int, receiver: str, hot_spot: int) -> tuple[SpaceId, SpaceId, Flexpage, int]:
        """Where pages come from and go to: source, target, the part of the flexpage that is sent, and its new base."""
        source, target, page = self._caller(), self._members.get(receiver), _flexpage(send)
        if target is None or target.window is None or target.sender not in ("", self.caller.name):
            raise NotTaken(f"{receiver} takes no pages of {self.caller.name}: it must say so by accept()")
        start, base, size = overlap(page, target.window, hot_spot)
        return source.number, target.number, Flexpage(start, size.bit_length() - 1, page.rights), base

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except (ValueError, KernelError, OutOfSlots) as error:
            raise NotTaken(str(error)) from error
        finally:
            self._free_unused()

    # --- faults ---------------------------------------------------------------------------------------------

    def on_stranger(self, badge: int, label: int, words: tuple[int, ...]) -> Words | None:
        """A message with no client's badge: a fault."""
        message = Received(badge, label, words, 0, 0, (0, 0, 0))
        fault, member = VmFault.of(message), self._threads.get(badge)
        if fault is not None and member is not None and not member.space.lost and self._is_resolved(member, fault):
            member.space.alive.add(badge)
            return RESUME
        return REFUSE if self._pager.fault(message) is Verdict.REFUSE else None

    def _is_resolved(self, member: Member, fault: VmFault) -> bool:
        """Whether the thread can go on: the page is there, or the owner has it now."""
        address = fault.address // PAGE_BYTES * PAGE_BYTES
        wanted = READ | WRITE if fault.access & Rights.WRITE else READ
        held = self._database.rights(member.number, address)
        if held or fault.fetch:
            return not fault.fetch and not wanted & ~held
        if member is not self._owner or not PAGED_ADDRESS <= address < PAGED_ADDRESS + member.size:
            return False
        try:
            self._database.insert(self._frames.new(FRAME_MIN_BITS), member.number, address, READ | WRITE)
        except (KernelError, OutOfSlots) as error:
            self.log.warning("no page for %s at %#x: %s", member.space.name, address, error)
            self._free_unused()
            return False
        return True

    def _ended(self, space: Space) -> None:
        member = self._members[space.name]
        self._database.remove_space(member.number)
        self._database.add_space(member.number, member.vspace)
        member.window = None
        self._free_unused()

    def _free_unused(self) -> None:
        for frame in self._database.take_unused():
            self._frames.free(frame)


def _flexpage(word: int) -> Flexpage:
    try:
        return Flexpage.of(word)
    except ValueError as error:
        raise NotTaken(str(error)) from error
