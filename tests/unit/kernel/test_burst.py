"""Bursts of the fast path: many signals of one ring, each a transaction, told together."""

from __future__ import annotations

import struct
from array import array

import pytest

from hw import ring
from hw.ram import Interrupted
from kerneld import _fastpath, layout
from kerneld.kernel import Kernel
from kerneld.records import Tcb
from libsel4py import abi
from libsel4py.abi import ObjectType, Syscall
from tests.harness import Completion, Machine, Thread

SIGNAL, OTHER, NOTHING = 100, 101, 102
BURST = 16
LOG_END = layout.UNDO_LOG + layout.UNDO_LOG_BYTES


def make() -> tuple[Machine, Thread]:
    machine = Machine(check=False)
    thread = machine.thread("task")
    machine.grant(thread, machine.retype(ObjectType.NOTIFICATION), SIGNAL, badge=1)
    machine.grant(thread, machine.retype(ObjectType.NOTIFICATION), OTHER, badge=6)
    return machine, thread


def serve(machine: Machine, *threads: Thread) -> tuple[int, int, int, int]:
    """One turn of the kernel's loop on these rings, until it looks in vain or needs the slow path."""
    rings = array("Q")
    for thread in threads:
        rings.extend((thread.tcb.trap_frame, thread.tcb.consumed, thread.tcb.address, 0))
    assert machine.kernel.fast_layout is not None
    return _fastpath.serve(machine.ram, machine.kernel.fast_layout, rings, 0, 0)


def submit_signals(thread: Thread, count: int) -> None:
    """Signals on two notifications, in turn, by different system calls, with and without a tail."""
    ops = (Syscall.CALL, Syscall.SEND, Syscall.NB_SEND)
    for number in range(count):
        op = ops[number % 3]
        thread.submit(op, (SIGNAL, OTHER)[number % 5 == 4], words=(number,), reply=number % 4, tag=1000 + number)


def completions(thread: Thread) -> list[Completion]:
    return list(iter(thread.completion, None))


def records(machine: Machine) -> bytes:
    return machine.ram.read(LOG_END, machine.ram.size - LOG_END)


@pytest.mark.parametrize("count", [1, 2, BURST - 1, BURST, BURST + 1, abi.RING_ENTRIES])
def test_a_burst_leaves_what_one_at_a_time_leaves(count: int) -> None:
    (one, single), (many, batch) = make(), make()
    for thread in (single, batch):
        submit_signals(thread, count)
    one.run()
    found, _, taken, _ = serve(many, batch)
    assert (found, taken) == (-1, count)
    assert records(many) == records(one)
    done = completions(batch)
    assert [completion.tag for completion in done] == list(range(1000, 1000 + count))
    assert done == completions(single)


def test_a_burst_ends_at_what_is_no_signal() -> None:
    machine, thread = make()
    submit_signals(thread, 3)
    thread.submit(Syscall.YIELD, tag=7)
    submit_signals(thread, 1)
    assert serve(machine, thread)[::2] == (0, 3)
    assert len(completions(thread)) == 3
    assert machine.kernel.take_slowly(thread.tcb)
    machine.settle()
    assert [each.tag for each in completions(thread)] == [7]
    assert serve(machine, thread)[::2] == (-1, 1)


def test_a_burst_ends_at_a_signal_that_does_not_resolve() -> None:
    machine, thread = make()
    submit_signals(thread, 2)
    thread.submit(Syscall.SEND, NOTHING)
    assert serve(machine, thread)[::2] == (0, 2)
    assert thread.tcb.consumed == 2
    assert len(completions(thread)) == 2


def test_one_submission_of_a_ring_at_a_time_while_another_waits() -> None:
    machine, thread = make()
    other = machine.thread("other")
    submit_signals(thread, abi.RING_ENTRIES)
    other.submit(Syscall.YIELD)
    assert serve(machine, thread, other)[::2] == (1, 1)


def test_an_index_too_far_ahead_is_no_burst() -> None:
    machine, thread = make()
    submit_signals(thread, 1)
    machine.ram.poke(thread.tcb.trap_frame + abi.SUBMIT_PRODUCED, struct.pack("<I", abi.RING_ENTRIES + 1))
    assert serve(machine, thread)[::2] == (0, 0)
    assert thread.tcb.consumed == 0


@pytest.mark.parametrize("made", [False, True])
def test_a_kernel_killed_at_any_store_of_a_burst_loses_and_repeats_nothing(made: bool) -> None:
    """Killed in the burst, again and again: a new kernel tells what was committed, and the rest follows, once each."""
    count, killed = BURST, 0
    while True:
        machine, thread = make()
        submit_signals(thread, count)
        machine.ram.interrupt_at(killed, made)
        try:
            serve(machine, thread)
        except Interrupted:
            pass
        else:
            break
        committed = machine.ram.word(thread.tcb.address + Tcb.consumed.offset)
        machine.kernel = Kernel(machine.ram)
        assert thread.tcb.consumed in (committed, committed - 1)
        published = ring.produced(machine.ram, thread.tcb.trap_frame)
        machine.settle()
        done = completions(thread)
        assert len(done) == thread.tcb.consumed >= published
        machine.run()
        done += completions(thread)
        assert [each.tag for each in done] == list(range(1000, 1000 + count))
        killed += 1
    assert killed > 5 * count


def test_without_a_tail_the_tails_words_are_zero() -> None:
    machine, thread = make()
    for flags in (abi.EntryFlags.NONE, abi.EntryFlags.INLINE):
        for fast in (True, False):
            thread.syscall(Syscall.YIELD, reply=5, dest=6, caps=(7, 8), inline=True)
            assert (thread.tcb.reply_cptr, thread.tcb.dest_cptr) == (5, 6)
            at = thread.tcb.consumed % abi.RING_ENTRIES * abi.RING_ENTRY_BYTES
            thread.submit(Syscall.SEND, SIGNAL, reply=9)
            machine.ram.poke(thread.tcb.trap_frame + abi.SUBMIT_RING + at + abi.ENTRY_FLAGS, struct.pack("<I", flags))
            assert (machine.kernel.take if fast else machine.kernel.take_slowly)(thread.tcb)
            machine.settle()
            assert machine.ram.words(thread.tcb.address + Tcb.TAIL, 8) == (0,) * 8
            assert thread.completion() is not None
