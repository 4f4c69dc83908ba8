"""What is kept of processes and threads, so that a kernel that is started again knows them: keys and notes of the fd
store.

    process:START              the kernel's end of the control socket; ProcessNote
    thread:START:NUMBER        the thread's doorbell; ThreadNote. START is the process's
    ending:START               the process was told to end
    mail:START                 its keeper is owed messages (map_mail.py, channel_mail.py)

Rules. What is kept is kept before the host is asked for what it is of. It is dropped when the process is reaped, of a
further thread when its TCB is gone and the keeper has stopped it; what the zygote does not know any more was dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from kerneld.host.fd_store import FdStore
from kerneld.host.process import Process, Thread


class ProcessNote(NamedTuple):
    """What cannot be read in RAM. ``threads``: how many it has had. ``former``: why its last life has ended."""

    vspace: int
    name: str
    image: str
    life: int
    threads: int
    former: str = ""

    @classmethod
    def parse(cls, note: object) -> ProcessNote:
        """What the monitor had. Raises ValueError if it is something else."""
        match note:
            case [int(vspace), str(name), str(image), int(life), int(threads)]:  # of a kernel that knew no more
                return cls(vspace, name, image, life, threads)
            case [int(vspace), str(name), str(image), int(life), int(threads), str(former)]:
                return cls(vspace, name, image, life, threads, former)
        raise ValueError(f"{note!r} is no note of a process")


class ThreadNote(NamedTuple):
    """``tid``: its number at the host, 0 while that is not known, and of a first thread. ``orphan``: its TCB is
    gone."""

    start: int
    tcb: int
    frame: int
    tid: int
    orphan: bool

    @classmethod
    def parse(cls, note: object) -> ThreadNote:
        """What the monitor had. Raises ValueError if it is something else."""
        match note:
            case [int(start), int(tcb), int(frame), int(tid), bool(orphan)]:
                return cls(start, tcb, frame, tid, orphan)
        raise ValueError(f"{note!r} is no note of a thread")


class ProcessNotes:
    """Has them kept."""

    def __init__(self, store: FdStore) -> None:
        self._store = store

    def process(self, process: Process) -> None:
        """It is about to be asked for."""
        self._store.keep(f"process:{process.start}", process.kept_fd, _process_note(process))

    def thread(self, thread: Thread) -> None:
        """It is about to be asked for."""
        self._store.keep(thread.key, thread.doorbell, _thread_note(thread))
        if thread.number:
            self._store.note(f"process:{thread.process.start}", _process_note(thread.process))

    def identified(self, thread: Thread) -> None:
        """The keeper has started it, and it is known which thread of the host it is, or that nobody knows."""
        self._store.note(thread.key, _thread_note(thread))

    def orphaned(self, thread: Thread) -> None:
        """Its TCB is about to be something else, or to have another life."""
        self._store.note(thread.key, _thread_note(thread))

    def refused(self, thread: Thread) -> None:
        """It was not started."""
        self.orphaned(thread)
        self._store.drop(thread.key)

    def ending(self, process: Process) -> None:
        """It is about to be killed."""
        self._store.note(f"ending:{process.start}", None)

    def forget(self, start: int, numbers: Sequence[int]) -> None:
        """The process is no more."""
        for key in ("process", "ending", "mail"):
            self._store.drop(f"{key}:{start}")
        for number in numbers:
            self._store.drop(f"thread:{start}:{number}")


def _process_note(process: Process) -> ProcessNote:
    return ProcessNote(process.vspace, process.name, process.image, process.life, process.next_number, process.former)


def _thread_note(thread: Thread) -> ThreadNote:
    return ThreadNote(thread.start, thread.tcb.address, thread.frame, thread.tid, thread.orphan)
