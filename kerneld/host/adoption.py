"""Processes that a kernel before this one has started: found again by what was kept of them, and what the zygote has.

A process that the zygote does not know was not started, or its end was done with: nothing of it is left.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass, field

from hw.ram import Ram
from kerneld.host.fd_store import FdStore, Inheritance, Kept
from kerneld.host.process import Process, Thread
from kerneld.host.process_notes import ProcessNote, ProcessNotes, ThreadNote
from kerneld.host.zygote_link import Census
from kerneld.records import ProcessState, Tcb


@dataclass(slots=True, eq=False)
class Adopted:
    """A process, not adopted yet.

    Attributes:
        pid, pidfd: of one that runs; -1 otherwise. status: the wait status of one that has ended.
        ending: it was told to end. owed: its keeper is owed messages.
        tids: numbers of threads at the host, as far as they are known.
    """

    process: Process
    pid: int = -1
    pidfd: int = -1
    status: int = 0
    ending: bool = False
    owed: bool = False
    tids: dict[Thread, int] = field(default_factory=dict)


class Adoption:
    """Makes the processes that there are.

    Args:
        disobeyed, told: of `Process`. lives: how many kernels there were before.
    """

    def __init__(
        self,
        ram: Ram,
        loop: asyncio.AbstractEventLoop,
        store: FdStore,
        disobeyed: Callable[[Process, str], None],
        told: Callable[[Process, int], None],
        lives: int,
    ) -> None:
        self._ram = ram
        self._loop = loop
        self._store = store
        self._disobeyed = disobeyed
        self._told = told
        self._lives = lives
        self._notes = ProcessNotes(store)

    def find(self, inherited: Inheritance, census: Census) -> list[Adopted]:
        """All that the zygote knows. Takes theirs out of both; what is left in the census nobody knows.

        The monitor forgets what it keeps of others.
        """
        threads: dict[int, list[tuple[int, Kept]]] = {}
        for name, kept in inherited.take_all("thread"):
            of, _, number = name.partition(":")
            threads.setdefault(int(of), []).append((int(number), kept))
        found = []
        for name, kept in inherited.take_all("process"):
            start = int(name)
            ending, owed = (inherited.take(f"{key}:{start}") is not None for key in ("ending", "mail"))
            if start in census.running or start in census.ended:
                adopted = self._make(start, kept, sorted(threads.pop(start, ())))
                adopted.ending, adopted.owed = ending, owed
                adopted.pid, adopted.pidfd = census.running.pop(start, (-1, -1))
                adopted.status = census.ended.pop(start, 0)
                found.append(adopted)
            else:
                os.close(kept.descriptor)
                self._notes.forget(start, ())
        for each in threads.values():
            for _, kept in each:
                os.close(kept.descriptor)
                self._store.drop(kept.key)
        return found

    def _make(self, start: int, kept: Kept, threads: list[tuple[int, Kept]]) -> Adopted:
        note = ProcessNote.parse(kept.note)
        process = Process(
            note.vspace,
            note.name,
            note.image,
            note.life,
            self._loop,
            self._disobeyed,
            self._told,
            start,
            self._store,
            socket.socket(fileno=kept.descriptor),
            self._lives,
        )
        adopted = Adopted(process)
        # A thread is kept before the process's note counts it.
        process.next_number = max(note.threads, *(number + 1 for number, _ in threads), 0)
        process.former = note.former
        for number, kept_thread in threads:
            thread_note = ThreadNote.parse(kept_thread.note)
            tcb = Tcb(self._ram, thread_note.tcb)
            thread = Thread(tcb, process, number, thread_note.frame, kept_thread.descriptor, thread_note.start)
            process.threads.append(thread)
            if thread_note.orphan:
                thread.orphan = thread.held = True
                thread.close()
            else:
                thread.held = tcb.process == ProcessState.STOPPED
            if thread_note.tid:
                adopted.tids[thread] = thread_note.tid
        return adopted


def end_unknown(census: Census) -> None:
    """End those that run and that nothing was kept of."""
    for _, pidfd in census.running.values():
        with contextlib.suppress(ProcessLookupError):  # the zygote has reaped it since the census
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        os.close(pidfd)
