"""A small kernel for tests of the task's half of the machine: real frames, doorbells and processes, no objects.

`Peer` is the kernel's end of one trap frame; `Task` is a forked process that is attached to it. The test's process
plays the kernel. Nothing here sleeps: it waits for the doorbell or for the task's end.

A task has none of what the test's process had open before the test: how much it may open does not depend on what ran
before it.
"""

from __future__ import annotations

import array
import contextlib
import faulthandler
import gc
import mmap
import os
import pickle
import select
import signal
import socket
import struct
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from hw import cpu, ring
from hw.ram import Ram
from libsel4py import abi

FRAME_BYTES = 1 << abi.TRAP_FRAME_BITS
LOG_BYTES = 4096
TIMEOUT_MS = 60_000
STANDARD = 3  # descriptors below it are everyone's

_before: dict[int, tuple[int, int]] = {}
_shared: set[int] = set()


def share(*descriptors: int) -> None:
    """What a module has opened for all of its tests: its tasks have it."""
    _shared.update(descriptors)


def open_now() -> dict[int, tuple[int, int]]:
    """The process's open descriptors, each with its file's device and number: one that is used again is another."""
    found: dict[int, tuple[int, int]] = {}
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # the folder's own has gone
            file = os.fstat(int(name))
            found[int(name)] = file.st_dev, file.st_ino
    return found


def begin_test() -> None:
    """What is open now was open before the test; what is opened from now on is the test's own."""
    _before.clear()
    _before.update(open_now())


def close_what_was_open_before() -> None:
    """In a forked process: close all that the test has not opened, but what is everyone's or shared."""
    gc.freeze()  # what is garbage already would close its number another time, when it is something else's
    if faulthandler.is_enabled():
        faulthandler.enable(STANDARD - 1)  # its own descriptor goes
    kept = _shared | set(range(STANDARD))
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):  # it has none
            kept.add(stream.fileno())
    for descriptor, file in open_now().items():
        if descriptor not in kept and _before.get(descriptor) == file:
            os.close(descriptor)


class Entry(NamedTuple):
    op: int
    flags: int
    cptr: int
    info: int
    mr0: int
    mr1: int
    mr2: int
    mr3: int
    tag: int


class Peer:
    """The kernel's end of one trap frame. ``first``: the number of its first submission and completion."""

    def __init__(self, first: int = 0) -> None:
        self.frame_fd = os.memfd_create("frame")
        os.ftruncate(self.frame_fd, FRAME_BYTES + LOG_BYTES)
        self.memory = mmap.mmap(self.frame_fd, FRAME_BYTES + LOG_BYTES)
        self.ram = Ram(self.memory, FRAME_BYTES, LOG_BYTES)
        self.doorbell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.consumed = self.produced = first
        for offset in (abi.SUBMIT_CONSUMED, abi.COMPLETE_PRODUCED):
            self.ram.poke(offset, struct.pack("<I", first))
        self.rings = 0

    def close(self) -> None:
        """Twice does no harm."""
        if self.memory.closed:
            return
        del self.ram
        self.memory.close()
        os.close(self.frame_fd)
        os.close(self.doorbell)

    def take(self) -> Entry | None:
        entry = ring.take(self.ram, 0, self.consumed)
        if entry is None:
            return None
        self.consumed = (self.consumed + 1) & 0xFFFFFFFF
        ring.set_consumed(self.ram, 0, self.consumed)
        return Entry(*entry)

    def tail(self) -> tuple[int, ...]:
        """Second line of the entry taken last."""
        return ring.take_tail(self.ram, 0, (self.consumed - 1) & 0xFFFFFFFF)

    def complete(self, tag: int, status: int = 0, badge: int = 0, info: int = 0, mrs: tuple[int, ...] = ()) -> bool:
        """Returns whether the thread was woken for it."""
        mr = (*mrs, 0, 0, 0, 0)
        sleeps = ring.complete(self.ram, 0, self.produced, status, badge, info, mr[0], mr[1], mr[2], mr[3], tag)
        self.produced = (self.produced + 1) & 0xFFFFFFFF
        if sleeps:
            ring.wake(self.ram, 0)
        return sleeps

    def echo(self, entry: Entry) -> bool:
        return self.complete(entry.tag, badge=entry.cptr, info=entry.info, mrs=entry[4:8])

    def wait_entry(self, task: Task, spin_ns: int = 0) -> Entry | None:
        """The next entry; None if the task has ended without one."""
        while True:
            entry = self.take()
            if entry is not None:
                return entry
            if not (self._spin(task, spin_ns) if spin_ns else self._sleep(task)):
                return self.take()

    def wait_doorbell(self) -> None:
        poll = select.poll()
        poll.register(self.doorbell, select.POLLIN)
        assert poll.poll(TIMEOUT_MS), "no doorbell within a minute"
        self.rings += os.eventfd_read(self.doorbell)

    def wait_asleep(self) -> None:
        """Wait until the thread has announced that it sleeps."""
        while not self.waiting():
            os.sched_yield()

    def waiting(self) -> int:
        """What the thread says of its sleep."""
        (word,) = struct.unpack("<I", self.ram.read(abi.TASK_WAITING, 4))
        return int(word)

    def _spin(self, task: Task, spin_ns: int) -> bool:
        end = time.monotonic_ns() + spin_ns
        while not ring.watch(self.ram, 0, self.consumed, 1):
            if time.monotonic_ns() >= end:
                return not task.has_ended(0)
            os.sched_yield()
        return True

    def _sleep(self, task: Task) -> bool:
        if ring.watch(self.ram, 0, self.consumed, 0):
            return True
        poll = select.poll()
        poll.register(self.doorbell, select.POLLIN)
        poll.register(task.pidfd, select.POLLIN)
        ready = dict(poll.poll(TIMEOUT_MS))
        assert ready, "neither a doorbell nor the task's end within a minute"
        if self.doorbell in ready:
            self.rings += os.eventfd_read(self.doorbell)
            return True
        return False


class Task:
    """A forked process, attached to a frame, that runs a function and sends what it returns."""

    def __init__(self, peer: Peer, function: Callable[[], Any], with_keeper: bool = False) -> None:
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        read_end, write_end = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            self.control.close()
            _task_main(peer, function, write_end, theirs.detach() if with_keeper else -1)
        theirs.close()
        os.close(write_end)
        self.pidfd = os.pidfd_open(self.pid)
        self._results = os.fdopen(read_end, "rb")
        self.status: int | None = None
        self._sequence = 0
        self.closed = False
        self.answered = 0

    def has_ended(self, timeout_ms: int) -> bool:
        poll = select.poll()
        poll.register(self.pidfd, select.POLLIN)
        return bool(poll.poll(timeout_ms))

    def result(self) -> Any:
        """What the function returned. Fails with the task's traceback if it raised."""
        data = self._results.read()
        self.reap()
        worked, value = pickle.loads(data) if data else (False, f"the task ended with wait status {self.status}")
        assert worked, value
        return value

    def reap(self) -> int:
        if self.status is None:
            assert self.has_ended(TIMEOUT_MS), "the task does not end"
            self.status = os.waitpid(self.pid, 0)[1]
        return self.status

    def tell(
        self, op: int, thread: int = 0, image: int = 0, words: tuple[int, ...] = (), fds: tuple[int, ...] = ()
    ) -> None:
        """Send a control message."""
        self._sequence += 1
        six = (*words, 0, 0, 0, 0, 0, 0)[:6]
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        self.control.sendmsg([struct.pack("<4I6Q", op, self._sequence, thread, image, *six)], ancillary)

    def ask(
        self, op: int, thread: int = 0, image: int = 0, words: tuple[int, ...] = (), fds: tuple[int, ...] = ()
    ) -> int:
        """Send a control message and return the errno of its answer."""
        self.tell(op, thread, image, words, fds)
        answer = struct.unpack("<4I6Q", self.control.recv(abi.CONTROL_BYTES))
        assert answer[:3] == (abi.ControlOp.DONE, self._sequence, thread)
        self.answered = answer[5]
        return int(answer[4])

    def close(self) -> None:
        """End the task and let go of it. Twice does no harm."""
        if self.closed:
            return
        self.closed = True
        if self.status is None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
            self.reap()
        self._results.close()
        self.control.close()
        os.close(self.pidfd)


def _task_main(peer: Peer, function: Callable[[], Any], results: int, control_fd: int) -> None:
    status = 1
    try:
        close_what_was_open_before()
        cpu.attach(os.dup(peer.frame_fd), os.dup(peer.doorbell), control_fd)
        try:
            outcome = (True, function())
        except BaseException:
            outcome = (False, traceback.format_exc())
        os.write(results, pickle.dumps(outcome))
        status = 0
    finally:
        os._exit(status)


@contextlib.contextmanager
def running(function: Callable[[], Any], with_keeper: bool = False, first: int = 0) -> Iterator[tuple[Peer, Task]]:
    """A task that runs ``function``, and the kernel's end of its frame. Both are gone afterwards, whatever happened."""
    peer = Peer(first)
    try:
        task = Task(peer, function, with_keeper)
        try:
            yield peer, task
        finally:
            task.close()
    finally:
        peer.close()


def serve_echo(peer: Peer, task: Task, spin_ns: int = 0) -> int:
    """Answer each entry with its own words until the task ends; how many they were."""
    served = 0
    while (entry := peer.wait_entry(task, spin_ns)) is not None:
        peer.echo(entry)
        served += 1
    return served


def wait_forever() -> Any:
    return cpu.trap(abi.Syscall.RECV, 0, 0, 0, 0, 0, 0)


def next_entry(peer: Peer, task: Task) -> Entry:
    entry = peer.wait_entry(task)
    assert entry is not None, "the task ended"
    return entry


def start(task: Task, peer: Peer, thread: int, *arguments: int, image: int = 5) -> int:
    return task.ask(abi.ControlOp.THREAD, thread, image, arguments, (peer.frame_fd, peer.doorbell))


def tried(attempt: Callable[[], Any]) -> int:
    """The errno that it ended with; 0 if it worked."""
    try:
        attempt()
    except OSError as error:
        return error.errno or -1
    return 0
