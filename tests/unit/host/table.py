"""The table of processes on a pure kernel: the test is the zygote, the tasks and the one who is told."""

from __future__ import annotations

import os
from asyncio import AbstractEventLoop
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from kerneld.host.fd_store import FdStore
from kerneld.host.kernel_log import LineKind
from kerneld.host.process import Process, Thread
from kerneld.host.processes import Processes
from kerneld.host.zygote_link import Failed, Started, StartRequest
from kerneld.outbox import Message, Tell
from kerneld.records import Tcb
from tests import harness
from tests.harness import Machine

IMAGES: Final = ("servers.one.main", "servers.two.main")


@dataclass
class Timer:
    at: float
    callback: Callable[[], object]
    cancelled: bool = False

    def cancel(self) -> None:
        self.cancelled = True


class Timers:
    """An event loop's clock, set by hand; the one descriptor that it looks at is read when the test says so."""

    def __init__(self) -> None:
        self.now = 0.0
        self._timers: list[Timer] = []
        self._reader: Callable[[], object] | None = None
        self.descriptor = -1  # that it looks at

    @property
    def waiting(self) -> int:
        """Timers that are not due."""
        return sum(1 for timer in self._timers if not timer.cancelled)

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, callback: Callable[[], object]) -> Timer:
        self._timers.append(Timer(self.now + delay, callback))
        return self._timers[-1]

    def pass_seconds(self, seconds: float) -> None:
        self.now += seconds
        due = [timer for timer in self._timers if timer.at <= self.now and not timer.cancelled]
        self._timers = [timer for timer in self._timers if timer.at > self.now]
        for timer in due:
            timer.callback()

    def add_reader(self, descriptor: int, callback: Callable[[], object]) -> None:
        self.descriptor, self._reader = descriptor, callback

    def remove_reader(self, descriptor: int) -> None:
        self.descriptor, self._reader = -1, None

    def readable(self) -> None:
        assert self._reader is not None
        self._reader()


@dataclass
class Asked:
    """A process that the zygote was asked for. `control` is the process's end of the control socket."""

    request: StartRequest
    started: Started
    failed: Failed
    control: int


@dataclass
class Zygote:
    asked_for: list[Asked] = field(default_factory=list)
    asked: int = 0

    def start(self, request: StartRequest, started: Started, failed: Failed) -> None:
        self.asked_for.append(Asked(request, started, failed, os.dup(request.control_fd)))

    def forget(self, number: int) -> None: ...

    def tried(self, number: int) -> str:
        return ""


@dataclass
class Reports:
    """Deaths (TCB address, status), and lines of the log."""

    deaths: list[tuple[int, int]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    def died(self, tcb: Tcb, status: int) -> None:
        self.deaths.append((tcb.address, status))

    def reaped(self, tcb: Tcb) -> None:
        pass

    def event(self, kind: str, **details: object) -> None:
        pass

    def log(self, kind: LineKind, text: str) -> None:
        self.lines.append(text)


class NoRings:
    def open(self, thread: Thread) -> None: ...
    def close(self, thread: Thread) -> None: ...
    def look(self, thread: Thread) -> None: ...


class Frames:
    """Memory files of frames that lie over no RAM."""

    def __init__(self) -> None:
        self._descriptors: dict[int, int] = {}

    def frame_fd(self, address: int, size: int) -> int:
        if address not in self._descriptors:
            self._descriptors[address] = os.memfd_create("frame")
            os.ftruncate(self._descriptors[address], size)
        return self._descriptors[address]

    def detached(self, address: int) -> None: ...

    def use_attached(self, attached: object, losing: object) -> None: ...

    def outlives(self, process: object) -> None: ...

    def gone_process(self, process: object) -> None: ...

    def begins(self, process: Process) -> None: ...

    def ride(self, process: Process, address: int, frame: int, size: int) -> int:
        return os.dup(self.frame_fd(frame, size))

    def later(self, piece: Callable[[], bool]) -> None:
        while piece():
            continue

    def ends(self, process: Process) -> None: ...

    def close(self) -> None:
        for descriptor in self._descriptors.values():
            os.close(descriptor)


class Table:
    """A machine, its processes, and all that these talk to. Close it."""

    def __init__(self, loop: AbstractEventLoop, reports: Reports | None = None, store: FdStore | None = None) -> None:
        self.machine = Machine(check=False)
        self.zygote = Zygote()
        self.reports = reports or Reports()
        self.frames = Frames()
        self.processes = Processes(self.machine.ram, loop, self.frames, IMAGES, NoRings(), self.reports, store)  # type: ignore[arg-type]
        self.processes.use_zygote(self.zygote)  # type: ignore[arg-type]

    def tell(self, kind: Tell, thread: harness.Thread) -> None:
        self.processes.carry_out(Message(kind, thread.tcb.address))

    def start(self, thread: harness.Thread) -> Asked:
        """The thread's process is asked of the zygote."""
        self.tell(Tell.START, thread)
        return self.zygote.asked_for[-1]

    def name(self, thread: harness.Thread, name: str) -> None:
        with self.machine.ram.transaction():
            data = name.encode()[: Tcb.NAME_BYTES].ljust(Tcb.NAME_BYTES, b"\0")
            self.machine.ram.write(thread.tcb.address + Tcb.NAME, data)

    def close_control_ends(self) -> None:
        """Close what the processes have of their control sockets."""
        for asked in self.zygote.asked_for:
            os.close(asked.control)
        self.zygote.asked_for.clear()

    def close(self) -> None:
        self.processes.close()
        self.frames.close()
        self.close_control_ends()
