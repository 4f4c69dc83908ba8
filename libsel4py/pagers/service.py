"""A pager as a server, for tasks whose description says ``pager = "…"``: memory that is there when it is touched.

`servers/pager` is this as it stands; who derives from it says otherwise what a task sees (`memory_of`, `attach`).

Each such task has ``paged`` bytes at `PAGED_ADDRESS`: zeroes, or what the setting ``contents`` says, of which each task
has a copy of its own; or, where the description connects this server to a ``memory``, that memory object, which all of
them see and share. Frames are made from this server's pool, or are the object's. Rules: a task that ends gives its
frames back, and its successor finds the first contents again, or what the object has; what is no page fault goes on to
root as it came. An object that answers "later" fails who waits: this server answers each fault at once.

What this server has made goes with it. A task that runs on is refused its memory by this server's next life, which is
the task's end; where the setting ``outlived`` is ``anew``, it finds the first contents. An object's memory stays.
What tasks wrote to an object that does not take it back (dead, slow, unwilling) stays here, ``takes_over`` bytes at
most (256 KiB), and is offered to the object again; an object that may be cached keeps its pages between two tasks.

Whom an object, or a file system, lets wait waits ``patience`` seconds (5), and all tasks of this server wait with it.

Connections of any other name lead to file systems: a task that it pages may map their files
(`libsel4py.interfaces.mapped_files`), each ``files`` bytes of pages at one time (256 KiB), for which the pool must have
room.
"""

from __future__ import annotations

import math

from libsel4py.abi import Rights, message_info
from libsel4py.capabilities import Endpoint, Notification, VSpace
from libsel4py.context import uses
from libsel4py.environment import PAGED_ADDRESS, SIGNAL_BADGE, Paged
from libsel4py.interfaces.file import Directory, NotPermitted
from libsel4py.interfaces.mapped_files import MOST_MAPPINGS, MappedFiles
from libsel4py.interfaces.memory_object import PAGE_BYTES, MemoryObject
from libsel4py.interfaces.pager import PagerStatistics, Paging
from libsel4py.lowlevel.machine import Words
from libsel4py.lowlevel.syscalls import Received
from libsel4py.pager import PATIENCE, Pager, Verdict
from libsel4py.pagers.anonymous import Anonymous
from libsel4py.pagers.blob import Blob
from libsel4py.pagers.faults import VmFault
from libsel4py.pagers.file_mappings import LEAST_PAGES, FileMappings
from libsel4py.pagers.file_store import FileStore
from libsel4py.pagers.frames import Frames
from libsel4py.pagers.in_use import failures_logged
from libsel4py.pagers.regions import Region, Space
from libsel4py.pagers.window import Window

AHEAD = 7
END, ANEW = "end", "anew"  # what the setting ``outlived`` says
FILE_BYTES = 256 << 10
TAKEN_OVER_BYTES = 256 << 10
RESUME: Words = (message_info(0, 0), 0, 0, 0, 0)
REFUSE: Words = (message_info(1, 0), 0, 0, 0, 0)


class PagerServer(PagerStatistics, MappedFiles):
    """Base of a server that is a pager. Its faults come in at the endpoint of its interface."""

    memory = uses(MemoryObject)

    def start(self) -> None:
        task, settings = self.task, self.task.environment.configuration
        self.frames = Frames(task.cnode, task.slots, task.memory, Window(task))
        self._has_object = "memory" in task.environment.connections
        wake, taken_over = None, 0
        if self._has_object:
            wake = self._wake()
            taken_over = int(str(settings.get("takes_over", TAKEN_OVER_BYTES))) // PAGE_BYTES
        self._patience = float(str(settings.get("patience", PATIENCE)))
        if not 0 < self._patience < math.inf:
            raise ValueError(f"patience = {self._patience:g}: for how many seconds an object is waited for")
        self.pager = Pager(
            self.frames,
            wake,
            patience=self._patience,
            ended=self._renew,
            takes_over=taken_over,
            failed=self.object_failed,
        )
        self._ahead = int(str(settings.get("ahead", AHEAD)))
        outlived = str(settings.get("outlived", END))
        if outlived not in (END, ANEW):
            raise ValueError(f"outlived = {outlived!r}: a task that outlives its pager can {END} or begin {ANEW}")
        self._begins_anew = outlived == ANEW
        self._contents = str(settings.get("contents", "")).encode()
        self._sizes: dict[str, int] = {}
        self._space_of: dict[str, Space] = {}
        self._of_thread: dict[int, Space] = {}
        self.files = FileMappings(self.pager, self.frames, self._stores(), self._share(), self._ahead)
        for name, paged in task.environment.paged.items():
            self._serve(name, paged)

    def _stores(self) -> list[FileStore]:
        """The file systems that the description connects this server to."""
        task = self.task
        found = [getattr(self.uses, name) for name in task.environment.connections if name != "memory"]
        handles = MOST_MAPPINGS * max(1, len(task.environment.paged))
        return [FileStore(each, task, handles, self._patience) for each in found if isinstance(each, Directory)]

    def _share(self) -> int:
        """Pages of files that each task may have. Raises ValueError: too few, or more than there are."""
        environment, settings = self.task.environment, self.task.environment.configuration
        pages = int(str(settings.get("files", FILE_BYTES))) // PAGE_BYTES
        if pages < LEAST_PAGES:
            raise ValueError(f"files = {pages * PAGE_BYTES}: a task needs {LEAST_PAGES * PAGE_BYTES} bytes at least")
        needed, free = pages * PAGE_BYTES * len(environment.paged), self.task.memory.statistics().free_bytes
        if "files" in settings and needed > free:
            raise ValueError(
                f"files = {pages * PAGE_BYTES} for each of {len(environment.paged)} tasks, of {free} bytes"
            )
        return pages

    def _wake(self) -> Notification:
        """What the object signals: the notification that ends this server's receive."""
        task, slot = self.task, self.task.slots.allocate()
        task.cnode.mint(slot, task.cnode, task.notification.cptr, SIGNAL_BADGE | 1, Rights.WRITE)
        return Notification(slot)

    def _serve(self, name: str, paged: Paged) -> None:
        self._sizes[name] = paged.size
        lost = not self._has_object and not self._begins_anew
        space = self.pager.add_space(VSpace(paged.vspace), name, paged.outlived, lost=lost)
        self._space_of[name] = space
        for badge, supervisor in paged.supervisors.items():
            self._of_thread[badge] = space
            self.pager.add_thread(space, badge, Endpoint(supervisor))
        self.attach(space)

    def attach(self, space: Space) -> None:
        """Show a task its memory, in its first state."""
        size = self._sizes[space.name]
        self.pager.attach(space, PAGED_ADDRESS, size, self.memory_of(space.name, size), ahead=self._ahead)

    def memory_of(self, name: str, size: int) -> MemoryObject:
        """What a task sees; for pagers that are made of this one to say otherwise."""
        if self._has_object:
            return self.memory
        return Blob(self.frames, self._contents, size) if self._contents else Anonymous(self.frames, size)

    def object_failed(self, region: Region, error: Exception) -> None:
        """An access has failed for what its object did; for pagers that are made of this one to do something."""

    def _renew(self, space: Space) -> None:
        self.files.leave(space)
        if self._has_object:
            if not any(each.alive for each in self._space_of.values()):
                self.pager.rest(space.regions[0])
            return
        for region in space.regions:
            with failures_logged(f"an object that {space.name} had seen"):
                self.pager.detach(region)
        self.attach(space)

    def on_stranger(self, badge: int, label: int, words: tuple[int, ...]) -> Words | None:
        """A message with no client's badge: a fault."""
        message = Received(badge, label, words, 0, 0, (0, 0, 0))
        space, fault = self._of_thread.get(badge), VmFault.of(message)
        if space is not None and fault is not None:
            self.files.before(space, fault.address)
        match self.pager.fault(message):
            case Verdict.RESUME:
                return RESUME
            case Verdict.WAIT:
                self.pager.waiting.pop()
                return REFUSE
            case Verdict.REFUSE:
                return REFUSE
        return None

    def on_signal(self, _: int) -> None:
        """The object wants something of its pager."""
        self.pager.woken()

    # --- files

    def map(self, file: Endpoint, address: int, offset: int, length: int, how: int) -> int:
        return self.files.map(self._space(), file, address, offset, length, how)

    def flush(self, mapping: int, offset: int, length: int) -> None:
        self.files.flush(self._space(), mapping, offset, length)

    def refresh(self, mapping: int) -> None:
        self.files.refresh(self._space(), mapping)

    def unmap(self, mapping: int) -> None:
        self.files.unmap(self._space(), mapping)

    def _space(self) -> Space:
        space = self._space_of.get(self.caller.name)
        if space is None:
            raise NotPermitted("files are mapped for the tasks that this pager pages alone")
        return space

    def statistics(self) -> Paging:
        counts = self.pager.counts
        free = self.task.memory.statistics().free_bytes
        return Paging(counts.faults, counts.mapped, counts.ahead, counts.refused, counts.passed_on, free)
