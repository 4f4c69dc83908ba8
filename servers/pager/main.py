"""A pager for tasks whose description says ``pager = "…"``: memory that is there when it is touched.

Each such task has ``paged`` bytes at `PAGED_ADDRESS`: zeroes, or what the setting ``contents`` says, of which each task
has a copy of its own. Frames are made from this server's pool. Rules: a task that ends gives its frames back, and its
successor finds the first contents again; what is no page fault goes on to root as it came.
"""

from __future__ import annotations

from libsel4py import component
from libsel4py.abi import message_info
from libsel4py.capabilities import Endpoint, VSpace
from libsel4py.environment import PAGED_ADDRESS, Paged
from libsel4py.interfaces.memory_object import MemoryObject
from libsel4py.interfaces.pager import PagerStatistics, Paging
from libsel4py.lowlevel.machine import Words
from libsel4py.lowlevel.syscalls import Received
from libsel4py.pager import Pager, Verdict
from libsel4py.pagers.anonymous import Anonymous
from libsel4py.pagers.blob import Blob
from libsel4py.pagers.frames import Frames
from libsel4py.pagers.regions import Space
from libsel4py.pagers.window import Window

AHEAD = 7
RESUME: Words = (message_info(0, 0), 0, 0, 0, 0)
REFUSE: Words = (message_info(1, 0), 0, 0, 0, 0)


@component
class Main(PagerStatistics):
    """The pager."""

    def start(self) -> None:
        task, settings = self.task, self.task.environment.configuration
        self.frames = Frames(task.cnode, task.slots, task.memory, Window(task))
        self.pager = Pager(self.frames, ended=self._renew)
        self._ahead = int(str(settings.get("ahead", AHEAD)))
        self._contents = str(settings.get("contents", "")).encode()
        self._sizes: dict[str, int] = {}
        for name, paged in task.environment.paged.items():
            self._serve(name, paged)

    def _serve(self, name: str, paged: Paged) -> None:
        self._sizes[name] = paged.size
        space = self.pager.add_space(VSpace(paged.vspace), name)
        for badge, supervisor in paged.supervisors.items():
            self.pager.add_thread(space, badge, Endpoint(supervisor))
        self.attach(space)

    def attach(self, space: Space) -> None:
        """Show a task its memory, in its first state."""
        size = self._sizes[space.name]
        self.pager.attach(space, PAGED_ADDRESS, size, self.memory_of(space.name, size), ahead=self._ahead)

    def memory_of(self, name: str, size: int) -> MemoryObject:
        """What a task sees; for pagers that are made of this one to say otherwise."""
        return Blob(self.frames, self._contents, size) if self._contents else Anonymous(self.frames, size)

    def _renew(self, space: Space) -> None:
        for region in space.regions:
            self.pager.detach(region)
        self.attach(space)

    def on_stranger(self, badge: int, label: int, words: tuple[int, ...]) -> Words | None:
        """A message with no client's badge: a fault."""
        match self.pager.fault(Received(badge, label, words, 0, 0, (0, 0, 0))):
            case Verdict.RESUME:
                return RESUME
            case Verdict.REFUSE | Verdict.WAIT:  # nobody waits here: this server's objects have all they need
                return REFUSE
        return None

    def statistics(self) -> Paging:
        counts = self.pager.counts
        free = self.task.memory.statistics().free_bytes
        return Paging(counts.faults, counts.mapped, counts.ahead, counts.refused, counts.passed_on, free)
