"""Parking: a thread is stopped wherever it is, or at its next system call where others share its interpreter."""

import contextlib
import errno
import mmap
import os
from collections.abc import Callable
from typing import Any

from hw import cpu
from libsel4py import abi
from tests.unit.cpu_peer import Peer, next_entry, running, start, wait_forever

CALL, EXIT = abi.Syscall.CALL, abi.Syscall.EXIT
PARK, UNPARK, MAP = abi.ControlOp.PARK, abi.ControlOp.UNPARK, abi.ControlOp.MAP
ADDRESS = 0x10_0000_0000


def count_up(shared: mmap.mmap) -> Callable[[], int]:
    """A task that never traps again: it counts in memory that the test sees, until told to stop."""

    def run() -> int:
        cpu.trap(CALL, 0, 0, 0, 0, 0, 0)
        number = 0
        while not shared[8]:
            number += 1
            shared[:8] = number.to_bytes(8, "little")
        return number

    return run


def test_a_running_thread_is_parked_and_goes_on() -> None:
    shared = mmap.mmap(-1, 4096)
    with running(count_up(shared), with_keeper=True) as (peer, task):
        peer.echo(next_entry(peer, task))
        for _ in range(50):
            assert task.ask(PARK) == 0
            before = shared[:8]
            os.sched_yield()
            assert task.ask(PARK) == 0
            assert shared[:8] == before
            assert task.ask(UNPARK) == 0
            while shared[:8] == before:
                os.sched_yield()
        shared[8] = 1
        assert task.result() > 0


def test_a_waiting_thread_is_parked_though_its_call_completes() -> None:
    with running(lambda: [wait_forever()[1], cpu.trap(CALL, 9, 0, 0, 0, 0, 0)[1]], with_keeper=True) as (peer, task):
        waiting = next_entry(peer, task)
        assert task.ask(PARK) == 0
        peer.echo(waiting)
        assert task.ask(MAP, 0, 0, (ADDRESS, 4096, abi.Rights.READ), (peer.frame_fd,)) == 0
        assert peer.take() is None
        assert task.ask(UNPARK) == 0
        peer.echo(next_entry(peer, task))
        assert task.result() == [0, 9]


def test_parking_one_thread_leaves_the_others_running() -> None:
    """The first thread computes beside a second one: its stop waits for its next system call."""
    shared = mmap.mmap(-1, 4096)

    def first() -> Any:
        cpu.set_thread_entry(lambda *_: wait_forever()[0])
        count_up(shared)()
        return cpu.trap(CALL, 4, 0, 0, 0, 0, 0)[1]

    with running(first, with_keeper=True) as (peer, task), contextlib.closing(Peer()) as other:
        peer.echo(next_entry(peer, task))
        assert start(task, other, 1) == 0
        waiting = next_entry(other, task)
        other.wait_asleep()
        assert task.ask(PARK, 1) == 0
        assert task.ask(UNPARK, 1) == 0
        while not any(shared[:8]):
            os.sched_yield()
        assert task.ask(PARK, 0) == errno.EINPROGRESS
        shared[8] = 1
        other.echo(waiting)
        assert next_entry(other, task).op == EXIT
        assert task.ask(UNPARK, 0) == 0
        peer.echo(next_entry(peer, task))
        assert task.result() == 4


def test_parking_an_unknown_thread_is_refused() -> None:
    with running(wait_forever, with_keeper=True) as (peer, task):
        waiting = next_entry(peer, task)
        assert task.ask(PARK, 8) == errno.ESRCH
        assert task.ask(UNPARK, 8) == errno.ESRCH
        peer.echo(waiting)
        task.result()


def test_parking_storm_loses_nothing() -> None:
    def calls() -> int:
        return sum(cpu.trap(CALL, i, 0, 0, 0, 0, 0)[1] == i for i in range(3000))

    with running(calls, with_keeper=True) as (peer, task):
        served = 0
        while served < 3000:
            entry = next_entry(peer, task)
            served += 1
            if served % 3 == 0 and served < 3000:
                assert task.ask(PARK) == 0
                peer.echo(entry)
                assert task.ask(UNPARK) == 0
            else:
                peer.echo(entry)
        assert task.result() == 3000
