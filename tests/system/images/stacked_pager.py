"""Pagers for tests: by the setting ``kind`` of their description."""

from __future__ import annotations

import os

from libsel4py import component
from libsel4py.abi import FaultLabel
from libsel4py.environment import PAGED_ADDRESS
from libsel4py.fault_reports import is_death
from libsel4py.interfaces.memory_object import Answer, MemoryObject
from libsel4py.lowlevel.machine import Words
from libsel4py.mapping import map_memory
from libsel4py.pagers.anonymous import Anonymous
from libsel4py.pagers.regions import Space
from libsel4py.pagers.service import RESUME, PagerServer

NIL_REPLIES = 10


class Below(Anonymous):
    """Shows what its pager is paged itself."""

    def data_request(self, offset: int, length: int, access: int) -> Answer:
        answer = super().data_request(offset, length, access)
        frame = answer[2]
        assert frame is not None
        self._frames.contents.write(frame, map_memory(PAGED_ADDRESS + offset, length, False).read(0, length))
        return answer


class Deadly(Anonymous):
    """The pager dies of each request."""

    def data_request(self, offset: int, length: int, access: int) -> Answer:
        os._exit(3)


@component
class Main(PagerServer):
    """A pager whose memory is special."""

    nil_replies = 0

    def on_stranger(self, badge: int, label: int, words: tuple[int, ...]) -> Words | None:
        """With ``kind = "nil"``, the first faults at each page are answered as if it had been mapped.

        With "mourning", it ends when a task of its has, and tells nobody of that.
        """
        if label == FaultLabel.VM_FAULT and self.task.environment.configuration["kind"] == "nil":
            self.nil_replies += 1
            if self.nil_replies % NIL_REPLIES:
                self.pager.counts.faults += 1
                return RESUME
        if is_death(label, words) and self.task.environment.configuration["kind"] == "mourning":
            os._exit(3)
        return super().on_stranger(badge, label, words)

    def memory_of(self, name: str, size: int) -> MemoryObject:
        match self.task.environment.configuration["kind"]:
            case "below":
                return Below(self.frames, size)
            case "deadly":
                return Deadly(self.frames, size)
        return super().memory_of(name, size)

    def attach(self, space: Space) -> None:
        """With ``kind = "fork"``, each task but the first is shown a copy of what the first sees."""
        first = getattr(self, "first", None)
        if self.task.environment.configuration["kind"] == "fork" and first is not None:
            self.pager.fork(first, space)
            return
        super().attach(space)
        (self.first,) = space.regions
