# mypy: disable-error-code="empty-body"
"""Bytes that a pager of another task shows to its tasks: a memory object, and a look at what it holds."""

from __future__ import annotations

import io

from libsel4py import Frame, Interface, component
from libsel4py.interfaces.memory_object import Answer, DataError
from libsel4py.pagers.blob import Blob
from libsel4py.pagers.frames import Frames
from libsel4py.pagers.window import Window

PAGE = 4096
BYTES = 16 * PAGE


class Contents(Interface):
    def read(self, offset: int, length: int) -> bytes:
        """What the source holds, whatever is in memory."""

    def clean(self, offset: int, length: int) -> int:
        """Ask the pager for what was written to; returns a ticket."""

    def flush(self, offset: int, length: int) -> int:
        """Ask the pager for all that it has."""

    def is_done(self, ticket: int) -> bool:
        """Whether the pager has carried it out."""

    def free_slots(self) -> int:
        """Of the store's own CNode."""

    def written(self) -> list[int]:
        """Offsets of the pages that came back dirty, in order."""

    def requested(self) -> int:
        """How often a page was asked for."""

    def refuse(self, yes: bool) -> None:
        """Take nothing back from now on, or take it again; the pager is told that something has changed."""

    def cache(self) -> None:
        """Let the pager keep pages while no task looks at them."""


@component
class Main(Blob, Contents):
    def __init__(self) -> None:
        """It has no pool yet: see `start`."""

    def start(self) -> None:
        task = self.task
        self.file = io.BytesIO(bytes(range(16)) * (BYTES // 16))
        self.offsets: list[int] = []
        self.requests, self.refuses = 0, False
        super().__init__(Frames(task.cnode, task.slots, task.memory, Window(task)), self.file)

    def read(self, offset: int, length: int) -> bytes:
        return self.file.getvalue()[offset : offset + length]

    def clean(self, offset: int, length: int) -> int:
        return self.lock(offset, length, clean=True)

    def flush(self, offset: int, length: int) -> int:
        return self.lock(offset, length, flush=True)

    def is_done(self, ticket: int) -> bool:
        return self.is_completed(ticket)

    def free_slots(self) -> int:
        return self.task.slots.free_count

    def written(self) -> list[int]:
        return self.offsets

    def requested(self) -> int:
        return self.requests

    def refuse(self, yes: bool) -> None:
        self.refuses = yes
        self.change_attributes(may_cache=False)

    def cache(self) -> None:
        self.change_attributes(may_cache=True)

    def data_request(self, offset: int, length: int, access: int) -> Answer:
        self.requests += 1
        return super().data_request(offset, length, access)

    def data_return(self, offset: int, length: int, frame: Frame, dirty: bool, keep: bool) -> None:
        if self.refuses:
            raise DataError("nothing is taken back now")
        if dirty:
            self.offsets.append(offset)
        super().data_return(offset, length, frame, dirty, keep)
