"""Which threads are attached to which trap frame: who is let go of when its memory is used for another object."""

from __future__ import annotations

from kerneld.host.process import Process, Thread


class Attached:
    """Threads whose rings are open, by the physical address of their trap frame."""

    def __init__(self) -> None:
        self._threads: dict[int, list[Thread]] = {}

    def add(self, thread: Thread) -> None:
        self._threads.setdefault(thread.frame, []).append(thread)

    def remove(self, thread: Thread) -> None:
        """Twice does no harm."""
        attached = self._threads.get(thread.frame, [])
        if thread in attached:
            attached.remove(thread)
            if not attached:
                del self._threads[thread.frame]

    def to(self, frame: int) -> tuple[Thread, ...]:
        """The threads that are attached to a frame."""
        return tuple(self._threads.get(frame, ()))

    def processes(self, frame: int) -> frozenset[Process]:
        """The processes of these threads."""
        return frozenset(thread.process for thread in self._threads.get(frame, ()))
