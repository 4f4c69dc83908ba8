"""One task's process as the host sees it, and its threads: descriptors, and whether each is held.

A thread is held when the kernel says that it must not run. Where all threads of a process are held the process is
stopped (SIGSTOP by its pidfd: nothing that it does prevents that); where only some are, those are parked by the
keeper. Who does not obey, or does not say so in time, is told of (`disobeyed`), to be ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import socket
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Final

from kerneld.host.channel_mail import ChannelMail
from kerneld.host.clocks import Clock, SharedClock, open_clock
from kerneld.host.control import ControlSocket
from kerneld.host.fd_store import FdStore
from kerneld.host.linux import Stopping, host_thread, is_stopped, processor_time_us, runs_no_more
from kerneld.host.map_mail import MapMail
from kerneld.host.niceness import set_nice
from kerneld.records import Tcb
from libsel4py.abi import STANDBY_SUFFIX

# It is done; it will be at the thread's next system call; the thread has ended.
_OBEYED: Final = (0, errno.EINPROGRESS, errno.ESRCH)


class Phase(Enum):
    STARTING = "starting"  # the zygote was asked
    LIVE = "live"
    ENDING = "ending"  # it was killed, and is not reaped yet


@dataclass(slots=True, eq=False)
class Thread:
    """A thread. `tcb` is not valid any more once `orphan` is set. `number` is the keeper's.

    Attributes:
        start: the number of its start, which nothing else was ever started with.
        frame: physical address of the trap frame that the thread was started with.
        slot: its place among the rings that are polled, -1 if it is not there.
        held: the kernel says that it must not run. parked: the keeper was told so.
        clock: its own, None while it is the process's only one, or was not started yet.
        tid: of a further thread, its number at the host; 0 where that is not known.
        waits: for a thread without one that has a budget, how long it waits for a processor.
    """

    tcb: Tcb
    process: Process
    number: int
    frame: int
    doorbell: int
    start: int = 0
    slot: int = -1
    held: bool = False
    parked: bool = False
    orphan: bool = False
    clock: Clock | None = None
    tid: int = 0
    waits: Clock | None = None

    @property
    def key(self) -> str:
        """What the monitor keeps it under (process_notes.py)."""
        return f"thread:{self.process.start}:{self.number}"

    def close(self) -> None:
        """Close what is ours of it. Twice does no harm."""
        self.process.map_mail.disarm()
        if self.doorbell >= 0:
            os.close(self.doorbell)
            self.doorbell = -1
        for clock in (self.clock, self.waits):
            if clock is not None:
                clock.close()
        self.clock = self.waits = None


class Process:
    """A process, from the request to start it until it is reaped. `life`: the how many-th of its name (lives.py).

    Args:
        mappings_told: its keeper was sent so many messages about memory.
        start: the number of its start, which nothing else was ever started with.
        store: keeps the number of a process that is owed messages.
        control, lives: of a process that was started by a kernel before this one (`ControlSocket`); `adopt` it then.
    """

    def __init__(
        self,
        vspace: int,
        name: str,
        image: str,
        life: int,
        loop: asyncio.AbstractEventLoop,
        disobeyed: Callable[[Process, str], None],
        mappings_told: Callable[[Process, int], None] = lambda process, count: None,
        start: int = 0,
        store: FdStore | None = None,
        control: socket.socket | None = None,
        lives: int = 0,
    ) -> None:
        self.vspace = vspace
        self.name = name
        self.stands_by = name.endswith(STANDBY_SUFFIX)  # for a task, which it will be called like
        self.image = image
        self.life = life
        self.start = start
        self.phase = Phase.STARTING
        self.is_gone = False  # reaped, or never made: what it had mapped nobody has any more
        self.pid = 0
        self.threads: list[Thread] = []
        self.early_answers: list[tuple[Thread, int]] = []  # its keeper's, of threads, before the zygote's of itself
        self.next_number = 0
        self.former = ""  # why the process that had its name before has ended
        self.ended_by = ""  # what of the kernel's has ended it
        self.pidfd = array("q", (-1,))  # of one number, which the fast path sees (_fastpath/withdraw.c)
        self.hurried_until = 0.0  # by the loop's time: others have waited for its keeper (frame_refill.py)
        self._kill_asked = False
        self._stopped = False
        self._held_still = 0
        self._disobeyed = disobeyed
        self._store = store
        self._owed: set[str] = set()
        self._theirs: socket.socket | None = None
        if control is None:
            control, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.kept_fd = control.fileno()
        self.control = ControlSocket(control, loop, self.refuse, lives)
        self.channel_mail = ChannelMail(self.control, partial(self._owes, "channels"))
        self.map_mail = MapMail(
            self.control,
            loop,
            lambda count: mappings_told(self, count),
            self.refuse,
            partial(self._owes, "mappings"),
        )

    @property
    def control_fd(self) -> int:
        """The process's own end, until `started`."""
        assert self._theirs is not None
        return self._theirs.fileno()

    @property
    def is_stopped(self) -> bool:
        """The host was told not to run it."""
        return self._stopped

    @property
    def is_at_rest(self) -> bool:
        """No line of its program runs: it was stopped, and the host has come to do that; or it has none, or is gone."""
        return self.is_gone or not self.pid or is_stopped(self.pid)

    @property
    def stopping(self) -> Stopping:
        """To be asked whether it is at rest, some threads at a time."""
        return Stopping(0 if self.is_gone else self.pid)

    def release_control_end(self) -> None:
        """The other end is on its way to the process."""
        if self._theirs is not None:
            self._theirs.close()

    def started(self, pid: int, pidfd: int) -> None:
        self.pid = pid
        self.pidfd[0] = pidfd
        if self._kill_asked:
            self._signal(signal.SIGKILL)
            return
        self.phase = Phase.LIVE
        self.control.runs(True)
        self.map_mail.open()
        for thread in self.threads:
            self.renice(thread)
        self.settle()

    def take_early_answers(self) -> list[tuple[Thread, int]]:
        """Threads that its keeper has started, and their numbers, of which it told before this process was known."""
        early, self.early_answers = self.early_answers, []
        return early

    def adopt(self, pid: int, pidfd: int) -> None:
        """It was started by a kernel before this one, which may have told it anything of whether it may run."""
        self.pid = pid
        self.pidfd[0] = pidfd
        self.phase = Phase.LIVE
        for thread in self.threads:
            thread.parked = len(self.threads) > 1 and not thread.held
        self._stopped = not all(thread.held for thread in self.threads)
        self.control.runs(not self._stopped)
        self.map_mail.open()
        self.settle()

    def kill(self) -> None:
        """End it now, or as soon as it has started."""
        self._kill_asked = True
        self.phase = Phase.ENDING
        self._signal(signal.SIGKILL)
        self.map_mail.close()

    @property
    def may_run(self) -> bool:
        """Whether, though it was killed, some line of its program may run still."""
        return not self.is_gone and not (self.pid and runs_no_more(self.pid))

    def ensure_ended(self) -> bool:
        """Whether no line of its program will run any more, however it came to its end.

        One that seems to have ended is killed: until then a thread that was not seen may go on and begin others. Who
        has ended by itself keeps the wait status that it has.
        """
        if self.may_run:
            return False
        self._signal(signal.SIGKILL)
        return not self.may_run

    def hold_still(self, still: bool) -> None:
        """Do not let it run, whatever its threads may do, until each who has asked for that says False."""
        self._held_still += 1 if still else -1
        self.settle()

    def settle(self) -> None:
        """Make stopped and parked what `held` says. Later, if it has not started yet."""
        if self.phase is not Phase.LIVE:
            return
        all_held = self._held_still > 0 or all(thread.held for thread in self.threads)
        if all_held:
            if not self._stopped:
                self._stopped = True
                self.control.runs(False)
                self._signal(signal.SIGSTOP)
            return
        for thread in self.threads:
            if thread.held != thread.parked:
                thread.parked = thread.held
                parked = partial(self._parked, thread)
                (self.control.park if thread.held else self.control.unpark)(thread.number, parked)
        if self._stopped:
            self._stopped = False
            self._signal(signal.SIGCONT)
            self.control.runs(True)

    def close(self) -> None:
        """It is reaped, or was never made: close all that is ours."""
        self.is_gone = True
        self.control.close()
        self.channel_mail.process_gone()
        self.map_mail.close()
        self.release_control_end()
        pidfd, self.pidfd[0] = self.pidfd[0], -1
        if pidfd >= 0:
            os.close(pidfd)
        for thread in self.threads:
            thread.close()

    def have_look(self, thread: Thread) -> None:
        """Have a thread that sleeps on memory which is gone look at it again, if it is the process's first: its signals
        are that one's (hw/_cpu/park.c has the handler)."""
        if not thread.number and self.phase is Phase.LIVE:
            self._signal(signal.SIGURG)

    def processor_time(self, thread: Thread) -> int:
        """Microseconds that one of its threads has used."""
        if thread.clock is not None:
            return thread.clock.read_us()
        return processor_time_us(self.pid) if self.pid and not thread.number else 0

    def waiting_time(self, thread: Thread) -> int:
        """Microseconds that one of its threads was to run and had no processor."""
        if thread.clock is not None:
            return thread.clock.waited_us()
        if thread.waits is None and self.phase is Phase.LIVE and not thread.number:
            thread.waits = self._own_clock(self.pid)
        return thread.waits.waited_us() if thread.waits is not None else 0

    def renice(self, thread: Thread) -> None:
        """Tell the host the thread's priority, where it is known which of the host's threads it is."""
        tid = thread.tid if thread.number else self.pid
        if tid and self.phase is Phase.LIVE and not thread.orphan and self._is_there():
            set_nice(tid, thread.tcb.priority)

    def identify(self, thread: Thread, tid: int) -> None:
        """The keeper has started a further thread, and says that this is its number, as the process itself sees it."""
        if self.phase is not Phase.LIVE:
            return
        tid = host_thread(self.pid, tid)
        own = self._own_clock(tid) if tid else None
        thread.clock, thread.tid = own or SharedClock(self.pid), tid if own else 0
        self.renice(thread)
        first = self.threads[0]
        if first.clock is None and not first.number and not first.orphan:
            first.clock = self._own_clock(self.pid, processor_time_us(self.pid))

    def identify_again(self, thread: Thread, tid: int) -> None:
        """As `identify`, for a thread that a kernel before this one has identified, by its number at the host; 0 where
        it has not.

        What the thread has used since it was charged last is charged to nobody.
        """
        charged_us = thread.tcb.consumed_us
        own = self._own_clock(tid, charged_us) if tid else None
        thread.clock, thread.tid = own or SharedClock(self.pid, charged_us), tid if own else 0
        self.renice(thread)

    def _own_clock(self, tid: int, base_us: int | None = None) -> Clock | None:
        clock = open_clock(self.pid, tid, base_us)
        if clock is not None and not self._is_there():
            clock.close()
            return None
        return clock

    def _is_there(self) -> bool:
        """Whether it is not reaped, so that its number is no other process's."""
        try:
            signal.pidfd_send_signal(self.pidfd[0], 0)
        except ProcessLookupError:
            return False
        return True

    def _parked(self, thread: Thread, error: int, word: int) -> None:
        if error not in _OBEYED:
            self.refuse(f"a thread does not stop when it is told to ({errno.errorcode.get(error, error)})")
        elif thread.orphan and thread.number and thread in self.threads:
            # It is told nothing any more. A process may have any number of such threads, one after the other.
            self.threads.remove(thread)
            if self._store is not None:
                self._store.drop(thread.key)

    def _owes(self, kind: str, owes: bool) -> None:
        """Have it kept whether the process is owed anything that a kernel after this one would not know."""
        before = bool(self._owed)
        (self._owed.add if owes else self._owed.discard)(kind)
        if bool(self._owed) != before:
            self.keep_owed()

    def keep_owed(self) -> None:
        """Have the monitor know whether it is owed anything."""
        if self._store is None:
            return
        if self._owed:
            self._store.note(f"mail:{self.start}", None)
        else:
            self._store.drop(f"mail:{self.start}")

    def refuse(self, what: str) -> None:
        """It does not obey, or cannot be given what it holds: it is ended, unless it ends already."""
        if self.phase is not Phase.ENDING:
            self._disobeyed(self, what)

    def _signal(self, number: signal.Signals) -> None:
        if (pidfd := self.pidfd[0]) >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, number)
