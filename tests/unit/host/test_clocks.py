"""Processor time of threads: each its own, told by a process that may lie about which is which."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from kerneld.host import descriptors
from kerneld.host.clocks import SharedClock, ThreadClock, open_clock
from kerneld.host.control import MESSAGE
from kerneld.outbox import Tell
from libsel4py import abi
from libsel4py.abi import ControlOp, Label
from tests.unit.host.table import Table

# A waiting first thread, and a busy second one whose number is printed.
TWO_THREADS = """
import sys, threading
def spin():
    print(threading.get_native_id(), flush=True)
    while True:
        sum(range(1000))
threading.Thread(target=spin, daemon=True).start()
sys.stdin.read()
"""
USED_US = 100_000


@pytest.fixture
def two_threads() -> Iterator[tuple[int, int]]:
    """A process, and the number of its busy thread."""
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", TWO_THREADS], stdin=pipe, stdout=pipe) as process:
        assert process.stdout is not None
        try:
            yield process.pid, int(process.stdout.readline())
        finally:
            process.kill()


def opened(pid: int, tid: int, base_us: int | None = None) -> ThreadClock:
    clock = open_clock(pid, tid, base_us)
    assert clock is not None
    return clock


def test_a_waiting_thread_is_not_charged_for_a_busy_one(two_threads: tuple[int, int]) -> None:
    pid, tid = two_threads
    waiting, busy = opened(pid, pid, 5_000_000), opened(pid, tid)
    before = waiting.read_us()
    start = busy.read_us()
    while busy.read_us() < start + USED_US:
        os.sched_yield()
    assert 5_000_000 <= before <= waiting.read_us() < before + USED_US // 4
    waiting.close()
    busy.close()


def test_a_thread_of_another_process_has_no_clock_here(two_threads: tuple[int, int]) -> None:
    pid, _ = two_threads
    for tid in (os.getpid(), 0, abi.WORD_MASK):
        assert open_clock(pid, tid) is None


def test_the_clock_of_a_thread_that_has_ended_stands_still() -> None:
    tid = 0

    def work() -> None:
        nonlocal tid
        tid = threading.get_native_id()
        ready.set()
        finish.wait()

    ready, finish = threading.Event(), threading.Event()
    thread = threading.Thread(target=work)
    thread.start()
    ready.wait()
    clock = opened(os.getpid(), tid)
    first = clock.read_us()
    finish.set()
    thread.join()
    while os.path.exists(f"/proc/self/task/{tid}"):
        os.sched_yield()
    assert first <= clock.read_us() == clock.read_us()
    clock.close()


def test_a_clock_takes_no_descriptor_that_the_kernel_needs(two_threads: tuple[int, int]) -> None:
    pid, tid = two_threads
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    os.close(free := os.dup(0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (free + descriptors.KEPT, hard))
    try:
        before = os.listdir("/proc/self/fd")
        assert open_clock(pid, tid) is None
        assert os.listdir("/proc/self/fd") == before
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def answer(channel: socket.socket, tid: int) -> None:
    """The keeper has started a thread, and says which; what it was asked before, it has done."""
    op = 0
    while op != ControlOp.THREAD:
        op, sequence, thread, *_ = MESSAGE.unpack(channel.recv(abi.CONTROL_BYTES))
        channel.send(MESSAGE.pack(ControlOp.DONE, sequence, thread, 0, 0, tid, 0, 0, 0, 0))


async def answered(table: Table, thread: int) -> None:
    """Until the kernel has read it."""
    while table.processes.threads[thread].clock is None:
        await asyncio.sleep(0)


@pytest.mark.parametrize("lies", [False, True])
def test_contexts_of_one_process_are_charged_differently(two_threads: tuple[int, int], lies: bool) -> None:
    """By way of SchedContext.consumed. Whoever names no thread of its own is charged all that its process uses."""
    pid, tid = two_threads

    async def within() -> None:
        table = Table(asyncio.get_running_loop())
        machine = table.machine
        machine.kernel.core.processor_time = table.processes.processor_time
        first, second = machine.thread("first"), machine.thread("second")

        def consumed(context: int) -> int:
            return machine.root.call(context, Label.SCHED_CONTEXT_CONSUMED)[0]

        asked = table.start(first)
        asked.started(pid, os.pidfd_open(pid))
        table.tell(Tell.START, second)
        assert consumed(second.sched_context) == 0
        with socket.socket(fileno=os.dup(asked.control)) as channel:
            answer(channel, 1 if lies else tid)
            await answered(table, second.tcb.address)
        consumed(first.sched_context)
        used = 0
        while used < USED_US:
            used += consumed(second.sched_context)
        assert consumed(first.sched_context) < USED_US // 4
        clock = table.processes.threads[second.tcb.address].clock
        assert isinstance(clock, SharedClock if lies else ThreadClock)
        table.close()

    asyncio.run(within())


def test_threads_that_come_and_go_leave_no_descriptor(two_threads: tuple[int, int]) -> None:
    pid, tid = two_threads

    async def within() -> None:
        table = Table(asyncio.get_running_loop())
        first, second = table.machine.thread("first"), table.machine.thread("second")
        asked = table.start(first)
        asked.started(pid, os.pidfd_open(pid))
        counts = set()
        with socket.socket(fileno=os.dup(asked.control)) as channel:
            for _ in range(5):
                table.tell(Tell.START, second)
                answer(channel, tid)
                await answered(table, second.tcb.address)
                table.tell(Tell.KILL, second)
                counts.add(len(os.listdir("/proc/self/fd")))
        assert len(counts) == 1
        table.close()

    asyncio.run(within())
