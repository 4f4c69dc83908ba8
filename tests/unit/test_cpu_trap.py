"""trap(): one system call against a kernel that sleeps, spins, is late, or is never going to answer."""

import contextlib
import os
import random
import signal
from typing import Any

import pytest

from hw import _cpu, cpu, ring
from libsel4py import abi
from tests.unit.cpu_peer import Peer, Task, running, serve_echo

CALL, RECV, CANCEL = abi.Syscall.CALL, abi.Syscall.RECV, abi.Syscall.CANCEL
DONE, CANCELLED = abi.Status.DONE, abi.Status.CANCELLED
SPIN_NS = 1_000_000
MILLISECOND = 1_000_000
SPINS_LONG_NS = 10_000_000  # so that a signal finds the thread looking, not asleep


def echo_calls(count: int) -> int:
    """`count` calls, each checked; returns how many were right."""
    right = 0
    for i in range(count):
        right += cpu.trap(CALL, i, 4, i, i + 1, 2**64 - 1, 0) == (DONE, i, 4, i, i + 1, 2**64 - 1, 0)
    return right


def test_one_fact_in_one_place() -> None:
    assert ring.OVERRUN == _cpu.OVERRUN


def test_a_sleeping_kernel_is_woken_by_the_doorbell() -> None:
    with running(lambda: echo_calls(50)) as (peer, task):
        assert serve_echo(peer, task) == 50
        assert task.result() == 50
        assert 1 <= peer.rings <= 50


def test_a_watching_kernel_gets_no_doorbell() -> None:
    peer = Peer()
    ring.watch(peer.ram, 0, 0, 1)
    with contextlib.closing(peer), contextlib.closing(Task(peer, lambda: echo_calls(200))) as task:
        assert serve_echo(peer, task, SPIN_NS) == 200
        assert task.result() == 200
        with pytest.raises(BlockingIOError):
            os.eventfd_read(peer.doorbell)


def test_no_wake_up_is_lost() -> None:
    """20,000 calls against a kernel that goes to sleep, spins, or dawdles as chance has it."""
    chance = random.Random(1)

    def calls() -> int:
        mine = random.Random(2)
        right = 0
        for i in range(20_000):
            if not i % 64:
                cpu.set_spin_ns(mine.choice((0, 0, 1000, 50_000)))
            right += cpu.trap(CALL, i, 0, 1, 2, 3, 4)[1] == i
        return right

    with running(calls) as (peer, task):
        while (entry := peer.wait_entry(task, chance.choice((0, 0, 2000, 50_000)))) is not None:
            for _ in range(chance.choice((0, 0, 0, 30, 300))):
                pass
            peer.echo(entry)
        assert task.result() == 20_000


def test_reply_and_destination_travel_in_the_tail() -> None:
    def calls() -> list[Any]:
        return [cpu.trap(RECV, 1, 0, 0, 0, 0, 0), cpu.trap(RECV, 1, 0, 0, 0, 0, 0, 7, 9)]

    with running(calls) as (peer, task):
        first = peer.wait_entry(task)
        assert first is not None
        assert first.flags == abi.EntryFlags.NONE
        peer.echo(first)
        second = peer.wait_entry(task)
        assert second is not None
        assert second.flags == abi.EntryFlags.HAS_TAIL
        assert peer.tail()[:2] == (7, 9)
        peer.echo(second)
        assert [answer[0] for answer in task.result()] == [DONE, DONE]


def test_a_time_out_cancels() -> None:
    def call() -> Any:
        first = cpu.trap(RECV, 1, 0, 0, 0, 0, 0, 0, 0, MILLISECOND)
        return first, cpu.trap(CALL, 5, 0, 0, 0, 0, 0)

    with running(call) as (peer, task):
        blocked = peer.wait_entry(task)
        cancel = peer.wait_entry(task)
        assert blocked is not None
        assert cancel is not None
        assert cancel.op == CANCEL
        assert cancel.tag != blocked.tag
        peer.complete(blocked.tag, CANCELLED)
        peer.complete(cancel.tag)
        serve_echo(peer, task)
        first, second = task.result()
        assert first[0] == CANCELLED
        assert second[:2] == (DONE, 5)


def test_a_call_that_completes_before_its_cancellation_counts() -> None:
    def call() -> Any:
        return cpu.trap(RECV, 1, 0, 0, 0, 0, 0, 0, 0, 0), cpu.trap(CALL, 5, 0, 0, 0, 0, 0)

    with running(call) as (peer, task):
        blocked = peer.wait_entry(task)
        cancel = peer.wait_entry(task)
        assert blocked is not None
        assert cancel is not None
        peer.complete(blocked.tag, badge=77)
        peer.complete(cancel.tag)
        serve_echo(peer, task)
        assert [answer[:2] for answer in task.result()] == [(DONE, 77), (DONE, 5)]


def test_time_out_races_keep_the_rings_in_step() -> None:
    """2,000 calls whose completion and time-out come at about the same moment."""
    chance = random.Random(3)

    def calls() -> tuple[int, int]:
        mine = random.Random(4)
        ended = [0, 0]
        for i in range(2000):
            status, badge = cpu.trap(RECV, i, 0, 0, 0, 0, 0, 0, 0, mine.randrange(0, 60_000))[:2]
            assert badge == (i if status == DONE else 0)
            ended[status] += 1
        return ended[0], ended[1]

    with running(calls) as (peer, task):
        while (entry := peer.wait_entry(task, chance.choice((0, 2000)))) is not None:
            if chance.random() < 0.5 or entry.op == CANCEL:
                peer.echo(entry)
                continue
            cancel = peer.wait_entry(task)
            assert cancel is not None
            assert cancel.op == CANCEL
            peer.complete(entry.tag, CANCELLED)
            peer.complete(cancel.tag)
        done, cancelled = task.result()
        assert done + cancelled == 2000
        assert done
        assert cancelled


class Rung(Exception):
    pass


@pytest.mark.parametrize("spin_ns", [0, 50_000, SPINS_LONG_NS])
def test_an_exception_of_a_signal_handler_cancels_first(spin_ns: int) -> None:
    def call() -> Any:
        def ring_out(_signal: int, _frame: object) -> None:
            with pytest.raises(RuntimeError, match="must not trap"):
                cpu.trap(CALL, 0, 0, 0, 0, 0, 0)
            raise Rung

        signal.signal(signal.SIGUSR1, ring_out)
        cpu.set_spin_ns(spin_ns)
        cpu.trap(CALL, 1, 0, 0, 0, 0, 0)
        with pytest.raises(Rung):
            cpu.trap(RECV, 1, 0, 0, 0, 0, 0)
        return cpu.trap(CALL, 5, 0, 0, 0, 0, 0)[:2]

    with running(call) as (peer, task):
        ready = peer.wait_entry(task)
        assert ready is not None
        peer.echo(ready)
        blocked = peer.wait_entry(task)
        assert blocked is not None
        if spin_ns < SPINS_LONG_NS:
            peer.wait_asleep()
        os.kill(task.pid, signal.SIGUSR1)
        cancel = peer.wait_entry(task)
        assert cancel is not None
        assert cancel.op == CANCEL
        peer.complete(blocked.tag, CANCELLED)
        peer.complete(cancel.tag)
        serve_echo(peer, task)
        assert task.result() == (DONE, 5)


def test_a_signal_without_an_exception_goes_unnoticed() -> None:
    def call() -> Any:
        came = []
        signal.signal(signal.SIGUSR1, lambda number, _frame: came.append(number))
        cpu.trap(CALL, 1, 0, 0, 0, 0, 0)
        return cpu.trap(RECV, 6, 0, 0, 0, 0, 0)[:2], came

    with running(call) as (peer, task):
        ready = peer.wait_entry(task)
        assert ready is not None
        peer.echo(ready)
        blocked = peer.wait_entry(task)
        assert blocked is not None
        peer.wait_asleep()
        os.kill(task.pid, signal.SIGUSR1)
        peer.echo(blocked)
        assert task.result() == ((DONE, 6), [signal.SIGUSR1])


def test_a_kernel_that_answers_something_else_is_a_kernel_bug() -> None:
    def call() -> Any:
        with pytest.raises(RuntimeError, match="answers another entry"):
            cpu.trap(CALL, 1, 0, 0, 0, 0, 0)
        with pytest.raises(RuntimeError, match="rings are broken"):
            cpu.trap(CALL, 1, 0, 0, 0, 0, 0)

    with running(call) as (peer, task):
        entry = peer.wait_entry(task)
        assert entry is not None
        peer.complete(entry.tag + 1)
        task.result()


def test_a_frame_with_a_past_is_taken_up_where_the_kernel_is() -> None:
    with contextlib.closing(Peer()) as peer:
        for _ in range(2):
            with contextlib.closing(Task(peer, lambda: echo_calls(70))) as task:
                serve_echo(peer, task)
                assert task.result() == 70


def test_indices_wrap_round() -> None:
    peer = Peer()
    peer.consumed = peer.produced = 2**32 - 30
    ring.set_consumed(peer.ram, 0, peer.consumed)
    peer.ram.poke(abi.SUBMIT_PRODUCED, peer.consumed.to_bytes(4, "little"))
    peer.ram.poke(abi.COMPLETE_PRODUCED, peer.produced.to_bytes(4, "little"))
    with contextlib.closing(peer), contextlib.closing(Task(peer, lambda: echo_calls(100))) as task:
        assert serve_echo(peer, task) == 100
        assert task.result() == 100


@pytest.mark.parametrize("index", [65, 2**31, 2**32 - 1])
def test_an_impossible_producer_index_is_an_overrun(index: int) -> None:
    with contextlib.closing(Peer()) as peer:
        peer.ram.poke(abi.SUBMIT_PRODUCED, index.to_bytes(4, "little"))
        entry = peer.take()
        assert entry is not None
        assert (entry.op, entry.cptr) == (ring.OVERRUN, index)


def test_wrong_arguments_submit_nothing() -> None:
    def call() -> Any:
        for wrong in [(CALL,), (CALL, -1, 0, 0, 0, 0, 0), (CALL, 2**64, 0, 0, 0, 0, 0), (2**31, 0, 0, 0, 0, 0, 0)]:
            with pytest.raises((TypeError, OverflowError)):
                cpu.trap(*wrong)
        with pytest.raises(TypeError):
            cpu.trap(CALL, "1", 0, 0, 0, 0, 0)  # type: ignore[arg-type]
        with pytest.raises(RuntimeError, match="attached once"):
            cpu.attach(0, 0)
        return echo_calls(1)

    with running(call) as (peer, task):
        assert serve_echo(peer, task) == 1
        assert task.result() == 1


def test_a_thread_without_a_frame_is_told_so() -> None:
    with pytest.raises(RuntimeError, match="no trap frame"):
        cpu.trap(CALL, 0, 0, 0, 0, 0, 0)
    with pytest.raises(RuntimeError, match="no trap frame"):
        cpu.message_read(0, 1)


def test_a_short_frame_is_refused() -> None:
    frame = os.memfd_create("short")
    os.ftruncate(frame, 4096)
    with pytest.raises(ValueError, match="16384"):
        cpu.attach(frame, frame)
    os.close(frame)
