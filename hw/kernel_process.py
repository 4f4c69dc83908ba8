"""The kernel's process, as the monitor sees it, and the nursery that kernels come from.

The nursery (`python -m kerneld`, kerneld/__main__.py) has the kernel's code loaded, and forks a process when it is
asked: in milliseconds, so that nobody waits for Python to start when a kernel has died. What makes such a process the
kernel is a message, with all descriptors that are kept (hw/fd_store.py):

    monitor -> nursery   {"op": "fork"}                       with the kernel's end of a new socket nursery -> monitor
    {"op": "forked", "pid": pid}         with a pidfd monitor -> kernel    {"op": "have", …}, …, {"op": "run",
    "restarts": n, "noticed_ns": when the last one's end was seen} kernel -> monitor    {"op": "runs"}, {"op": "ended",
    "status": n}, and what it has kept

A kernel that dies is replaced, but not for ever: after `FAILED_STARTS` that did not get as far as to run, one after the
other, or `most_deaths` within `DEATHS_S`, the system ends. A bug that meets each kernel anew is no incident.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgpack

from hw.fd_store import FdStore, close_all

DEATHS_S: Final = 10.0
MOST_DEATHS: Final = 20
FAILED_STARTS: Final = 5
HANDING_S: Final = 5.0
LOADING_S: Final = 60.0  # for the nursery to load its code, on a host with much else to do
MESSAGE_BYTES: Final = 4096

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
            data, descriptors, _, _ = socket.recv_fds(self.channel, MESSAGE_BYTES, 4)
        except (BlockingIOError, ConnectionResetError):
            return None
        return (msgpack.unpackb(data), descriptors) if data else None

    def hand(self, store: FdStore, more: Mapping[str, int], order: Mapping[str, object]) -> None:
        """Make it the kernel. Raises OSError where it has ended, or takes nothing."""
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
        select.select([self.pidfd], [], [])
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

    def fork(self) -> KernelProcess:
        """A process that waits to be made the kernel.

        Raises:
            OSError: none can be started, or it has ended at once.
        """
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                try:
                    pid, pidfd = self._ask(theirs)
                except (ConnectionError, BrokenPipeError):  # it was killed
                    self.close()
                    pid, pidfd = self._ask(theirs)
            except BaseException:
                ours.close()
                raise
        return KernelProcess(pid, pidfd, ours)

    def close(self) -> None:
        """End it."""
        if self._process is None or self._channel is None:
            return
        self._channel.close()
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
        self._process.wait()
        os.close(self._pidfd)
        self._process = self._channel = None

    def _ask(self, theirs: socket.socket) -> tuple[int, int]:
        channel = self._channel or self._begin()
        socket.send_fds(channel, [msgpack.packb({"op": "fork"})], [theirs.fileno()])
        data, descriptors, _, _ = socket.recv_fds(channel, MESSAGE_BYTES, 1, socket.MSG_CMSG_CLOEXEC)
        if not data:
            raise ConnectionResetError("the nursery of kernels has ended")
        match msgpack.unpackb(data):
            case {"op": "forked", "pid": int(pid)} if len(descriptors) == 1:
                return pid, descriptors[0]
            case message:
                close_all(descriptors)
                raise OSError(f"no kernel can be started: {message}")

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
    Attributes:
        restarts: how often another one has become the kernel.
    """

    def __init__(self, nursery: Nursery, store: FdStore, more: Mapping[str, int], most_deaths: int) -> None:
        self._nursery = nursery
        self._store = store
        self._more = more
        self._most_deaths = most_deaths
        self._running: KernelProcess | None = None
        self._deaths: deque[float] = deque()
        self._failed_starts = 0
        self.restarts = 0

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

    def replace(self, noticed_ns: int) -> str | None:
        """The kernel has ended: another one takes its place. Returns why not, where it does not.

        ``noticed_ns``: when that was seen, on CLOCK_MONOTONIC.
        """
        self.close()
        now = time.monotonic()
        self._deaths.append(now)
        while self._deaths[0] < now - DEATHS_S:
            self._deaths.popleft()
        self._failed_starts += 1
        if self._failed_starts > max(FAILED_STARTS, self._most_deaths // 4):
            return f"{self._failed_starts} kernels one after the other have died before they were ready to serve"
        if len(self._deaths) > self._most_deaths:
            return f"the kernel has died {len(self._deaths)} times within {DEATHS_S:g} s"
        self.restarts += 1
        try:
            self._take_over(noticed_ns)
        except OSError as error:
            return f"no other kernel can be started: {error}"
        return None

    def close(self) -> None:
        """End the kernel."""
        if self._running is not None:
            self._running.end()
            self._running = None

    def _take_over(self, noticed_ns: int) -> None:
        self._running = self._nursery.fork()
        order = {"op": "run", "restarts": self.restarts, "noticed_ns": noticed_ns}
        # One that ends meanwhile is replaced as soon as that is seen.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            try:
                self._running.hand(self._store, self._more, order)
            except TimeoutError:
                signal.pidfd_send_signal(self._running.pidfd, signal.SIGKILL)
