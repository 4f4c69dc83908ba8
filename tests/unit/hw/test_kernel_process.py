"""The monitor and its kernels where there are many descriptors: a frame that was handed out is one of each."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import cast

import pytest

from hw import kernel_process
from hw.fd_store import Entry, close_all
from hw.fd_store import FdStore as Store
from hw.kernel_process import KernelProcess, Kernels, Nursery
from hw.module_path import python_command, python_environment
from kerneld.host.fd_store import FdStore
from tests.system.kernel_storm import children

HIGH = 1500  # above what select(2) takes


def high(descriptor: int) -> int:
    """The same under a high number. The one that was given is closed."""
    copy = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, HIGH)
    os.close(descriptor)
    return copy


def test_a_kernel_is_ended_whatever_its_descriptor_s_number(many_descriptors: None) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs, subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"]) as process:
        KernelProcess(process.pid, high(os.pidfd_open(process.pid)), ours).end()
        assert process.wait() == -signal.SIGKILL


class Crowded(socket.socket):
    """Somebody begins to read when it was full."""

    reader: threading.Thread

    def send(self, data: bytes) -> int:  # type: ignore[override]  # the store sends bytes
        try:
            return super().send(data)
        except BlockingIOError:
            self.reader.start()
            raise


def test_a_store_whose_socket_is_full_waits_whatever_that_socket_s_number(many_descriptors: None) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    loop = asyncio.new_event_loop()
    with theirs, Crowded(fileno=high(ours.detach())) as channel:
        store = FdStore(channel, loop)
        count = 0
        with contextlib.suppress(BlockingIOError):
            while socket.socket.send(channel, b"x"):
                count += 1
        channel.reader = threading.Thread(target=lambda: [theirs.recv(10) for _ in range(count)])
        store.note("key", 1)
        channel.reader.join()
        assert b"key" in theirs.recv(100)
    loop.close()


def start(name: str, arguments: Sequence[str], descriptors: Sequence[int]) -> tuple[subprocess.Popen[bytes], int]:
    command = python_command(*arguments)
    process = subprocess.Popen(command, pass_fds=descriptors, env=python_environment(), stdin=subprocess.DEVNULL)
    started.append(process.pid)
    return process, os.pidfd_open(process.pid)


started: list[int] = []


@pytest.fixture
def nursery() -> Iterator[Nursery]:
    started.clear()
    nursery = Nursery(start, "test")
    nursery.fork().end()
    yield nursery
    nursery.close()


def test_a_spare_is_there_before_it_is_wanted_and_ends_with_its_nursery(nursery: Nursery) -> None:
    assert nursery.take_spare() is None
    nursery.prepare()
    nursery.prepare()
    spare = nursery.take_spare()
    assert spare is not None
    while children(started[0]) != [spare.pid]:  # who has ended before may still be about to be reaped
        os.sched_yield()
    spare.end()
    nursery.prepare()
    while not (pids := set(children(started[0])) - {spare.pid}):
        os.sched_yield()
    pidfd = os.pidfd_open(pids.pop())
    nursery.close()
    ended = select.poll()
    ended.register(pidfd, select.POLLIN)
    assert ended.poll(0)
    os.close(pidfd)


def test_a_nursery_that_was_killed_is_started_again(nursery: Nursery) -> None:
    nursery.prepare()
    os.kill(started[0], signal.SIGKILL)
    nursery.fork().end()
    nursery.fork().end()
    assert len(started) == 2


def test_a_nursery_that_was_stopped_is_replaced(nursery: Nursery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_process, "ANSWER_S", 0.1)
    nursery.fork().end()
    os.kill(started[0], signal.SIGSTOP)
    nursery.prepare()
    nursery.fork().end()
    assert len(started) == 2


class FakeNursery(Nursery):
    """Its kernels take what they are told, and do nothing. ``answers``: whether it has loaded its code."""

    def __init__(self, answers: bool = True) -> None:
        super().__init__(start, "fake")
        self._ours, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.processes: list[subprocess.Popen[bytes]] = []
        self.is_closed = False
        if answers:
            self._theirs.send(b"it has")

    def ask(self) -> socket.socket:
        return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)[0]

    @property
    def descriptor(self) -> int:
        return self._ours.fileno()

    def forked(self, ours: socket.socket) -> KernelProcess:
        self._ours.recv(10)
        ours.close()
        return self.fork()

    def fork(self) -> KernelProcess:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = [sys.executable, "-c", "import signal; signal.pause()"]
            self.processes.append(subprocess.Popen(command, pass_fds=[theirs.fileno()]))
        return KernelProcess(self.processes[-1].pid, os.pidfd_open(self.processes[-1].pid), ours)

    def prepare(self) -> None:
        return

    def close(self) -> None:
        self.is_closed = True
        close_all((self._ours.detach(), self._theirs.detach()))
        for process in self.processes:
            process.kill()
            process.wait()


@pytest.mark.parametrize("loads", [False, True])
def test_newer_code_that_hangs_is_ended_and_the_old_goes_on(loads: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    old, newer = FakeNursery(), FakeNursery(loads)
    waiting = [old, newer]
    monkeypatch.setattr(kernel_process, "TRIAL_S", 0.0)
    with contextlib.closing(Kernels(lambda: waiting.pop(0), Store(), {}, 20)) as kernels:
        kernels.begin()
        kernels.runs()
        kernels.end_trial()
        assert kernels.running.pid == old.processes[0].pid
        kernels.upgrade()
        if loads:
            kernels.loaded()
            assert kernels.replace(1) is None
            assert (kernels.running.pid, kernels.is_on_trial) == (newer.processes[0].pid, True)
        kernels.end_trial()
        assert kernels.trial_ends == kernel_process.FOREVER
        if loads:
            assert newer.processes[0].wait() == -signal.SIGKILL
        assert kernels.replace(1) is None
        assert (kernels.running.pid, kernels.is_on_trial) == (old.processes[1].pid, False)
        assert (kernels.upgrades, kernels.failed_upgrades, newer.is_closed) == (0, 1, True)


class Crowd:
    """More of this user's descriptors are on their way than the host lets be, until some tries have failed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, failing: int) -> None:
        self.left = failing
        self._send = socket.send_fds
        monkeypatch.setattr(socket, "send_fds", self._try)

    def _try(self, channel: socket.socket, data: Sequence[bytes], descriptors: Sequence[int]) -> int:
        if descriptors and self.left:
            self.left -= 1
            raise OSError(errno.ETOOMANYREFS, os.strerror(errno.ETOOMANYREFS))
        return self._send(channel, data, descriptors)


def receive(channel: socket.socket) -> list[int]:
    _, descriptors, _, _ = socket.recv_fds(channel, 4096, 10)
    return descriptors


def test_what_is_kept_is_handed_over_when_there_is_room_for_it_on_its_way(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store({"one": Entry(os.dup(0), None)})
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs, contextlib.closing(store):
        Crowd(monkeypatch, 5)
        store.hand(ours, {})
        close_all(receive(theirs))
        Crowd(monkeypatch, sys.maxsize)
        ours.settimeout(0.01)
        with pytest.raises(OSError, match=os.strerror(errno.ETOOMANYREFS)):
            store.hand(ours, {})


def test_a_nursery_is_asked_when_there_is_room_for_a_descriptor(
    nursery: Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    crowd = Crowd(monkeypatch, 5)
    nursery.fork().end()
    assert crowd.left == 0


class Sleepers:
    """Where processes come from that take nothing and do nothing."""

    def __init__(self) -> None:
        self._others: list[socket.socket] = []
        self._processes: list[subprocess.Popen[bytes]] = []

    def fork(self) -> KernelProcess:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        process = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
        self._others.append(theirs)
        self._processes.append(process)
        return KernelProcess(process.pid, os.pidfd_open(process.pid), ours)

    def close(self) -> None:
        for other, process in zip(self._others, self._processes, strict=True):
            other.close()
            process.wait()


def test_no_room_for_descriptors_on_their_way_does_not_end_a_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_process, "HANDING_S", 0.01)
    crowd = Crowd(monkeypatch, sys.maxsize)
    store = Store({"one": Entry(os.dup(0), None)})
    with contextlib.closing(store):
        kernels = Kernels(lambda: cast(Nursery, Sleepers()), store, {}, 20)
        try:
            kernels.begin()
            ended = select.poll()
            ended.register(kernels.running.pidfd, select.POLLIN)
            ended.poll()  # it is ended, as one that takes nothing
            crowd.left = 0
            assert kernels.replace(0) is None
            ended = select.poll()
            ended.register(kernels.running.pidfd, select.POLLIN)
            assert not ended.poll(0)
        finally:
            kernels.close()
