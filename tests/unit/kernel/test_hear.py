"""What the kernel does first for a thread that has woken it: the same as its loop over rings, before Python goes on."""

from __future__ import annotations

import os
import struct
from array import array
from collections.abc import Callable, Iterator

import pytest

from hw import ring
from hw.ram import Interrupted, RamError
from kerneld import _fastpath, layout
from kerneld.kernel import Kernel
from kerneld.records import ThreadState
from libsel4py import abi
from libsel4py.abi import ObjectType, Syscall
from tests.harness import Completion, Machine, Thread

SIGNAL, ENDPOINT = 100, 101
BURST = 16
LOG_END = layout.UNDO_LOG + layout.UNDO_LOG_BYTES
Scene = tuple[Machine, Thread]


@pytest.fixture
def doorbell() -> Iterator[int]:
    descriptor = os.eventfd(1, os.EFD_NONBLOCK)
    yield descriptor
    os.close(descriptor)


def make() -> Scene:
    machine = Machine(check=False)
    thread = machine.thread("task")
    machine.grant(thread, machine.retype(ObjectType.NOTIFICATION), SIGNAL, badge=1)
    return machine, thread


def signals(count: int) -> Callable[[Thread], None]:
    def submit(thread: Thread) -> None:
        for number in range(count):
            thread.submit(Syscall.NB_SEND, SIGNAL, tag=number)

    return submit


def signals_and_what_is_slow(thread: Thread) -> None:
    signals(2)(thread)
    thread.submit(Syscall.YIELD, tag=7)
    signals(2)(thread)


def index(ahead: int) -> Callable[[Thread], None]:
    """The thread says that so many submissions wait, whatever its ring holds."""

    def submit(thread: Thread) -> None:
        signals(1)(thread)
        said = thread.tcb.consumed + ahead & 0xFFFFFFFF
        thread.machine.ram.poke(thread.tcb.trap_frame + abi.SUBMIT_PRODUCED, struct.pack("<I", said))

    return submit


def hear(scene: Scene, doorbell: int, *, serves: bool = True) -> tuple[int, int]:
    machine, thread = scene
    assert machine.kernel.fast_layout is not None
    frame, tcb = thread.tcb.trap_frame, thread.tcb.address
    return _fastpath.hear(machine.ram, machine.kernel.fast_layout, frame, tcb, doorbell, serves)


def serve(scene: Scene) -> None:
    """The loop over rings, and the slow path where that is needed, until nothing is left."""
    machine, thread = scene
    assert machine.kernel.fast_layout is not None
    rings = array("Q", (thread.tcb.trap_frame, thread.tcb.consumed, thread.tcb.address, 0))
    while _fastpath.serve(machine.ram, machine.kernel.fast_layout, rings, 0, 0)[0] == 0:
        if not machine.kernel.take_slowly(thread.tcb):
            return
        machine.settle()
        rings[1] = thread.tcb.consumed


def records(machine: Machine) -> bytes:
    return machine.ram.read(LOG_END, machine.ram.size - LOG_END)


def word(thread: Thread, offset: int) -> int:
    (value,) = struct.unpack("<I", thread.machine.ram.read(thread.tcb.trap_frame + offset, 4))
    return int(value)


def completions(thread: Thread) -> list[Completion]:
    return list(iter(thread.completion, None))


def rung(doorbell: int) -> bool:
    try:
        return os.eventfd_read(doorbell) > 0
    except BlockingIOError:
        return False


@pytest.mark.parametrize(
    ("submit", "taken"),
    [
        (signals(0), 0),
        (signals(1), 1),
        (signals(BURST), BURST),
        (signals(abi.RING_ENTRIES), BURST),
        (signals_and_what_is_slow, 2),
        (lambda thread: thread.submit(Syscall.YIELD), 0),
        (index(abi.RING_ENTRIES + 1), 0),
        (index(-1), 0),
        (index(1 << 31), 0),
    ],
    ids=["nothing", "one", "burst", "full", "slow behind fast", "slow", "too far ahead", "behind", "far"],
)
def test_it_leaves_what_the_loop_over_rings_leaves(submit: Callable[[Thread], None], taken: int, doorbell: int) -> None:
    by_bell, by_loop = make(), make()
    for _, thread in (by_bell, by_loop):
        submit(thread)
    (machine, thread), (other_machine, other) = by_bell, by_loop
    before = thread.tcb.consumed
    assert hear(by_bell, doorbell) == (taken, 0)
    assert thread.tcb.consumed == before + taken
    assert word(thread, abi.SUBMIT_CONSUMED) == before + taken
    assert len(machine.kernel.outbox) == 0
    assert word(thread, abi.KERNEL_WATCHING) == 1
    assert not rung(doorbell)
    ring.watch(other_machine.ram, other.tcb.trap_frame, before, 1)
    for scene in (by_bell, by_loop):
        serve(scene)
    assert records(machine) == records(other_machine)
    assert completions(thread) == completions(other)


def test_a_ring_that_is_not_served_is_not_touched(doorbell: int) -> None:
    """Others are watched, and have their turns first."""
    machine, thread = scene = make()
    signals(1)(thread)
    before = records(machine)
    assert hear(scene, doorbell, serves=False) == (0, 0)
    assert not rung(doorbell)
    assert records(machine) == before
    assert (word(thread, abi.KERNEL_WATCHING), thread.completion()) == (0, None)


def test_a_thread_that_cannot_submit_now_is_left_to_the_slow_path(doorbell: int) -> None:
    machine, thread = scene = make()
    machine.grant(thread, machine.retype(ObjectType.ENDPOINT), ENDPOINT)
    assert thread.syscall(Syscall.RECV, ENDPOINT, reply=thread.reply) is None
    assert thread.state is ThreadState.BLOCKED_ON_RECEIVE
    signals(1)(thread)
    before = records(machine)
    assert hear(scene, doorbell) == (0, 0)
    assert records(machine)[: thread.tcb.trap_frame - LOG_END] == before[: thread.tcb.trap_frame - LOG_END]
    assert thread.completion() is None


def test_nothing_is_carried_out_before_what_was_told_is(doorbell: int) -> None:
    machine, thread = scene = make()
    signals(2)(thread)
    assert machine.kernel.take(thread.tcb)
    assert len(machine.kernel.outbox) == 1
    assert hear(scene, doorbell) == (0, 0)
    assert len(machine.kernel.outbox) == 1


def test_who_receives_a_call_is_to_be_watched(doorbell: int) -> None:
    machine, thread = scene = make()
    server = machine.thread("server")
    endpoint = machine.retype(ObjectType.ENDPOINT)
    for each in (thread, server):
        machine.grant(each, endpoint, ENDPOINT)
    assert server.syscall(Syscall.RECV, ENDPOINT, reply=server.reply) is None
    thread.submit(Syscall.CALL, ENDPOINT, abi.message_info(3, 1), (8,))
    assert hear(scene, doorbell) == (1, server.tcb.address)
    received = server.completion()
    assert received is not None
    assert (received.label, received.words) == (3, (8,))


@pytest.mark.parametrize("blocks", [False, True])
def test_a_count_that_the_thread_has_taken_back_keeps_nobody_waiting(doorbell: int, blocks: bool) -> None:
    _, thread = scene = make()
    signals(1)(thread)
    assert os.eventfd_read(doorbell) == 1
    os.set_blocking(doorbell, blocks)
    assert hear(scene, doorbell) == (1, 0)


def test_what_is_no_frame_and_no_thread_is_refused(doorbell: int) -> None:
    machine, thread = make()
    known = machine.kernel.fast_layout
    assert known is not None
    frame, tcb = thread.tcb.trap_frame, thread.tcb.address
    with pytest.raises(ValueError, match="aligned"):
        _fastpath.hear(machine.ram, known, frame + 8, tcb, doorbell, True)
    for bad in ((machine.ram.size, tcb), (frame, machine.ram.size)):
        with pytest.raises(RamError):
            _fastpath.hear(machine.ram, known, *bad, doorbell, True)
    assert rung(doorbell)


@pytest.mark.parametrize("made", [False, True])
def test_a_kernel_killed_at_any_store_loses_and_repeats_nothing(made: bool, doorbell: int) -> None:
    killed = 0
    while True:
        machine, thread = scene = make()
        signals(3)(thread)
        machine.ram.interrupt_at(killed, made)
        try:
            hear(scene, doorbell)
        except Interrupted:
            pass
        else:
            break
        machine.kernel = Kernel(machine.ram)
        machine.settle()
        machine.run()
        assert [each.tag for each in completions(thread)] == [0, 1, 2]
        killed += 1
    assert killed > 15
