"""The kernel's process, as the monitor sees it, and the nursery that kernels come from.

The nursery (`python -m kerneld`, kerneld/__main__.py) has the kernel's code loaded, and forks a process when it is
asked: in milliseconds, so that nobody waits for Python to start when a kernel has died. Once a kernel runs, one is
asked for ahead, the *spare*, so that nobody waits for the fork either. What makes such a process the kernel is a
message, with all descriptors that are kept (hw/fd_store.py):

    monitor -> nursery   {"op": "fork"}                 with the kernel's end of a new socket
    nursery -> monitor   {"op": "forked", "pid": pid}   with a pidfd; or {"op": "failed", "error": text}
    monitor -> kernel    {"op": "have", …}, …, and {"op": "run", "restarts": n, "noticed_ns": when the last one's end
                         was seen, "upgrades": n, "failed_upgrades": n}
    kernel -> monitor    {"op": "runs"}, {"op": "upgrade"}, {"op": "ended", "status": n}, {"op": "lost", "error": n}
                         (the console's output cannot be written), and what it has kept

To *upgrade* is to load the code anew, into a second nursery, to have the kernel stop (SIGUSR1), and to let one of the
new nursery take its place. Until that one runs it is on trial: if it ends before, the next one is of the old nursery
again. Code that has not loaded after `TRIAL_S`, or does not run so long after it took over, is ended: it hangs.

A kernel that dies is replaced, but not for ever: after `FAILED_STARTS` that did not get as far as to run, one after the
other, or `most_deaths` within `DEATHS_S`, the system ends. A bug that meets each kernel anew is no incident.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgpack

from hw.descriptor_passing import send_descriptors
from hw.fd_store import TAKEN_TOGETHER, FdStore, close_all
from hw.waiting import wait_readable

DEATHS_S: Final = 10.0
MOST_DEATHS: Final = 20
FAILED_STARTS: Final = 5
HANDING_S: Final = 5.0
LOADING_S: Final = 60.0  # for the nursery to load its code, on a host with much else to do
MESSAGE_BYTES: Final = 4096
ANSWER_S: Final = 5.0  # for a nursery that has loaded it to fork; one that does not is stopped, and no use
TRIAL_S: Final = 20.0  # for newer code to load, and to run: nobody has a kernel meanwhile
FIRST: Final = -20  # nice value

FOREVER: Final = float("inf")

Start = Callable[[str, Sequence[str], Sequence[int]], tuple[subprocess.Popen[bytes], int]]


@dataclass(slots=True, eq=False)
class KernelProcess:
    """A process that is, or is about to be, the kernel. ``channel``: the monitor's end."""

    pid: int
    pidfd: int
    channel: socket.socket

    def receive(self) -> tuple[dict[str, object], list[int]] | None:
        """One message, and its descriptors; None when there is none now."""
        try:
            data, descriptors, _, _ = socket.recv_fds(self.channel, MESSAGE_BYTES, TAKEN_TOGETHER)
        except (BlockingIOError, ConnectionResetError):
            return None
        return (msgpack.unpackb(data), descriptors) if data else None

    def hand(self, store: FdStore, more: Mapping[str, int], order: Mapping[str, object]) -> None:
        """Make it the kernel, before all others where the host permits; it goes back to its own nice value.

        Raises OSError where it has ended, or takes nothing, or descriptors cannot be sent.
        """
        with contextlib.suppress(PermissionError, ProcessLookupError):
            os.setpriority(os.PRIO_PROCESS, self.pid, FIRST)
        self.channel.settimeout(HANDING_S)
        try:
            store.hand(self.channel, more)
            self.channel.send(msgpack.packb(order))
        finally:
            self.channel.setblocking(False)

    def end(self) -> None:
        """End it if it runs, and wait until it has ended."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
        wait_readable(self.pidfd)
        os.close(self.pidfd)
        self.channel.close()


class Nursery:
    """The process that forks kernels. It is started again where it has ended; its kernels end with it."""

    def __init__(self, start: Start, name: str) -> None:
        self._start = start
        self._name = name
        self._process: subprocess.Popen[bytes] | None = None
        self._pidfd = -1
        self._channel: socket.socket | None = None
        self._ahead: socket.socket | None = None  # of the spare

    def prepare(self) -> None:
        """Ask for a spare, unless there is one. Where none can be had, `fork` will say so."""
        if self._ahead is None and self._channel is not None:
            with contextlib.suppress(OSError):
                self._ahead = self.ask()

    def take_spare(self) -> KernelProcess | None:
        """The spare; None if there is none, or it has ended with the nursery."""
        ours, self._ahead = self._ahead, None
        if ours is None:
            return None
        with contextlib.suppress(OSError):
            return self.forked(ours)
        return None

    def fork(self) -> KernelProcess:
        """A process that waits to be made the kernel: the spare, if there is one.

        Raises:
            OSError: none can be started, or it has ended at once.
        """
        if (spare := self.take_spare()) is not None:
            return spare
        try:
            return self.forked(self.ask())
        except (ConnectionError, TimeoutError):  # it was killed, or stopped
            self.close()
            return self.forked(self.ask())

    def ask(self) -> socket.socket:
        """Ask for a process that waits to be made the kernel: the monitor's end of its socket, for `forked`."""
        channel = self._channel or self._begin()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                send_descriptors(channel, msgpack.packb({"op": "fork"}), [theirs.fileno()], HANDING_S)
            except BaseException:
                ours.close()
                raise
        return ours

    @property
    def descriptor(self) -> int:
        """Readable when it has answered, or has ended."""
        assert self._channel is not None
        return self._channel.fileno()

    def forked(self, ours: socket.socket) -> KernelProcess:
        """What was asked for. Closes the socket if there is none. Raises OSError."""
        assert self._channel is not None
        try:
            data, descriptors, _, _ = socket.recv_fds(self._channel, MESSAGE_BYTES, 1)
            if not data:
                raise ConnectionResetError("the nursery of kernels has ended")
            self._channel.settimeout(ANSWER_S)
            match msgpack.unpackb(data):
                case {"op": "forked", "pid": int(pid)} if len(descriptors) == 1:
                    return KernelProcess(pid, descriptors[0], ours)
                case message:
                    close_all(descriptors)
                    raise OSError(f"no kernel can be started: {message}")
        except BaseException:
            ours.close()
            raise

    def close(self) -> None:
        """End it, and the spare."""
        if self._process is None or self._channel is None:
            return
        self._channel.settimeout(HANDING_S)
        if (spare := self.take_spare()) is not None:
            spare.end()
        self._channel.close()
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        self._process.wait()
        os.close(self._pidfd)
        self._process = self._channel = None

    def _begin(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            arguments = ["-m", "kerneld", "--monitor", str(theirs.fileno()), "--parent", str(os.getpid())]
            arguments += ["--name", self._name]
            try:
                self._process, self._pidfd = self._start("kerneld", arguments, (theirs.fileno(),))
            except BaseException:
                ours.close()
                raise
        ours.settimeout(LOADING_S)
        self._channel = ours
        return ours


class Kernels:
    """The kernel, one after the other.

    Args:
        store: what is handed over, with ``more`` descriptors by their names.
        load: makes a nursery, which loads the code that there is now.
    Attributes:
        restarts: how often another one has become the kernel.
        upgrades, failed_upgrades: how often one of newer code has, and how often it could not.
        trial_ends: the moment for `end_trial`, on CLOCK_MONOTONIC; FOREVER: there is none.
    """

    def __init__(self, load: Callable[[], Nursery], store: FdStore, more: Mapping[str, int], most_deaths: int) -> None:
        self._load = load
        self._nursery = load()
        self._before: Nursery | None = None  # while a kernel of newer code is on trial
        self._loading: tuple[Nursery, socket.socket] | None = None  # newer code, and what was asked of it
        self._newer: tuple[Nursery, KernelProcess] | None = None  # waits for the kernel to stop
        self._stopping = False
        self.trial_ends = FOREVER
        self._store = store
        self._more = more
        self._most_deaths = most_deaths
        self._running: KernelProcess | None = None
        self._deaths: deque[float] = deque()
        self._failed_starts = 0
        self.restarts = self.upgrades = self.failed_upgrades = 0

    @property
    def running(self) -> KernelProcess:
        """The kernel, from `begin` on."""
        assert self._running is not None
        return self._running

    def begin(self) -> None:
        """Start the first kernel. Raises OSError."""
        self._take_over(0)

    def runs(self) -> None:
        """The kernel says that it serves."""
        self._failed_starts = 0
        if self._before is not None:
            self._before.close()
            self._before = None
            self.trial_ends = FOREVER
        self._nursery.prepare()

    @property
    def is_on_trial(self) -> bool:
        """Whether the kernel is of newer code, and does not run yet: what it says of the system is not believed."""
        return self._before is not None

    def upgrade(self) -> None:
        """Load the code anew, and have the kernel stop. Where the code does not load, one of the old code goes on."""
        if self._loading is not None or self._newer is not None or self._before is not None:
            return
        nursery = self._load()
        try:
            self._loading = nursery, nursery.ask()
            self.trial_ends = time.monotonic() + TRIAL_S
        except OSError:
            self._not_loaded(nursery)

    @property
    def loading(self) -> int:
        """A descriptor that is readable when the code was loaded, or could not be; -1 while none is."""
        return -1 if self._loading is None else self._loading[0].descriptor

    def loaded(self) -> None:
        """The code was loaded, or could not be: the kernel stops."""
        if self._loading is None:
            return
        (nursery, ours), self._loading = self._loading, None
        self.trial_ends = FOREVER
        try:
            self._newer = nursery, nursery.forked(ours)
        except OSError:
            self._not_loaded(nursery)
        else:
            self._stop()

    def end_trial(self) -> None:
        """If its time is over, newer code that does not load, or does not run, is ended: the old goes on."""
        if time.monotonic() < self.trial_ends:
            return
        self.trial_ends = FOREVER
        if self._loading is not None:
            (nursery, ours), self._loading = self._loading, None
            ours.close()
            self._not_loaded(nursery)
        elif self._before is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.running.pidfd, signal.SIGKILL)

    def _not_loaded(self, nursery: Nursery) -> None:
        nursery.close()
        self.failed_upgrades += 1
        self._stop()

    def _stop(self) -> None:
        self._stopping = True
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.running.pidfd, signal.SIGUSR1)

    def replace(self, noticed_ns: int) -> str | None:
        """The kernel has ended: another one takes its place. Returns why not, where it does not.

        ``noticed_ns``: when that was seen, on CLOCK_MONOTONIC.
        """
        self._end_running()
        if self._before is not None:
            self._nursery.close()
            self._nursery, self._before = self._before, None
            self.trial_ends = FOREVER
            self.upgrades -= 1
            self.failed_upgrades += 1
            return self._try_take_over(noticed_ns)
        if self._stopping:
            self._stopping = False
            return self._try_take_over(noticed_ns)
        now = time.monotonic()
        self._deaths.append(now)
        while self._deaths[0] < now - DEATHS_S:
            self._deaths.popleft()
        self._failed_starts += 1
        if self._failed_starts > max(FAILED_STARTS, self._most_deaths // 4):
            return f"{self._failed_starts} kernels one after the other have died before they were ready to serve"
        if len(self._deaths) > self._most_deaths:
            return f"the kernel has died {len(self._deaths)} times within {DEATHS_S:g} s"
        return self._try_take_over(noticed_ns)

    def close(self) -> None:
        """End the kernel, and where kernels come from."""
        self._end_running()
        if self._loading is not None:
            self._loading[1].close()
            self._loading[0].close()
        if self._newer is not None:
            self._newer[1].end()
            self._newer[0].close()
        if self._before is not None:
            self._before.close()
        self._nursery.close()

    def _end_running(self) -> None:
        if self._running is not None:
            self._running.end()
            self._running = None

    def _try_take_over(self, noticed_ns: int) -> str | None:
        self.restarts += 1
        try:
            self._take_over(noticed_ns)
        except OSError as error:
            return f"no other kernel can be started: {error}"
        return None

    def _take_over(self, noticed_ns: int) -> None:
        if self._newer is not None:
            self._before = self._nursery
            (self._nursery, self._running), self._newer = self._newer, None
            self.trial_ends = time.monotonic() + TRIAL_S
            self.upgrades += 1
        else:
            self._running = self._nursery.fork()
            if self._hand(self._running, noticed_ns):
                return
            self._running.end()  # a spare that had ended long ago, perhaps
            self._running = self._nursery.fork()
        self._hand(self._running, noticed_ns)  # one that ends meanwhile is replaced as soon as that is seen

    def _hand(self, process: KernelProcess, noticed_ns: int) -> bool:
        """Make it the kernel. False: it has ended, or is ended for taking nothing, or since nothing could be sent."""
        order = {"op": "run", "restarts": self.restarts, "noticed_ns": noticed_ns}
        order |= {"upgrades": self.upgrades, "failed_upgrades": self.failed_upgrades}
        try:
            process.hand(self._store, self._more, order)
        except (BrokenPipeError, ConnectionResetError):
            return False
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(process.pidfd, signal.SIGKILL)
            return False
        return True
