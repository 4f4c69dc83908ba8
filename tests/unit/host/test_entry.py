"""The kernel's loop over rings: fair to every ring, and never made to wait by a thread's doorbell."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from hw.devices.bus import IoBus
from kerneld import _fastpath
from kerneld.entry import TURN_NS, Entry
from kerneld.host.process import Process, Thread
from kerneld.outbox import Tell
from kerneld.records import Tcb
from libsel4py import abi
from libsel4py.abi import ObjectType, Syscall
from tests import harness
from tests.harness import Machine

SIGNAL = 100
SECONDS = 10


@pytest.fixture
def machine() -> Machine:
    return Machine(check=False)


def test_rings_that_are_always_full_do_not_starve_another(machine: Machine) -> None:
    notification = machine.retype(ObjectType.NOTIFICATION)
    threads = [machine.thread(f"thread{number}") for number in range(3)]
    rings = array("Q")
    for thread in threads:
        machine.grant(thread, notification, SIGNAL, badge=1)
        rings.extend((thread.tcb.trap_frame, thread.tcb.consumed, thread.tcb.address, 0))
    for busy in (threads[0], threads[2]):
        for _ in range(abi.RING_ENTRIES):
            busy.submit(Syscall.NB_SEND, SIGNAL)
    threads[1].submit(Syscall.YIELD)
    layout = machine.kernel.fast_layout
    assert layout is not None
    found, _, taken, _ = _fastpath.serve(machine.ram, layout, rings, 0, 0)
    assert found == 1
    assert taken <= 2


def test_a_turn_ends_in_time_though_each_unit_of_work_is_long(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A doorbell that rings meanwhile is heard after the turn: a long revoke must not make that many units of work."""
    clock = units = 0

    def unit() -> bool:
        nonlocal clock, units
        clock += TURN_NS * 9 // 10
        units += 1
        return True

    loop = asyncio.new_event_loop()
    entry = Entry(machine.kernel, IoBus(machine.ram, []), loop, lambda message: None, lambda error: None)
    with machine.ram.transaction():
        machine.kernel.core.kernel.restart_head = machine.root.tcb
    monkeypatch.setattr(time, "monotonic_ns", lambda: clock)
    monkeypatch.setattr(machine.kernel, "continue_one", unit)
    again = entry._serve()
    monkeypatch.undo()
    loop.close()
    assert (again, units) == (True, 2)


def test_a_turn_ends_in_time_though_rings_are_full_all_the_time(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fast path comes back after 256 system calls, and by then others have waited."""
    clock = times = 0

    def serve(*arguments: object) -> tuple[int, int, int, int]:
        nonlocal clock, times
        clock += TURN_NS * 9 // 10
        times += 1
        return -1, 0, 256, 0

    loop = asyncio.new_event_loop()
    entry = Entry(machine.kernel, IoBus(machine.ram, []), loop, lambda message: None, lambda error: None)
    monkeypatch.setattr(time, "monotonic_ns", lambda: clock)
    monkeypatch.setattr(_fastpath, "serve", serve)
    again = entry._serve()
    monkeypatch.undo()
    loop.close()
    assert (again, times) == (True, 2)


def test_a_turn_ends_in_time_though_each_system_call_is_slow(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever chooses them, as a Retype of 256 objects, chooses how long others wait for the event loop."""
    clock = taken = 0

    def take(self: Entry, index: int) -> None:
        nonlocal clock, taken
        clock += TURN_NS * 9 // 10
        taken += 1

    loop = asyncio.new_event_loop()
    entry = Entry(machine.kernel, IoBus(machine.ram, []), loop, lambda message: None, lambda error: None)
    monkeypatch.setattr(time, "monotonic_ns", lambda: clock)
    monkeypatch.setattr(_fastpath, "serve", lambda *arguments: (0, 0, 0, 0))
    monkeypatch.setattr(Entry, "_take", take)
    again = entry._serve()
    monkeypatch.undo()
    loop.close()
    assert (again, taken) == (True, 2)


def test_those_that_the_host_told_run_before_rings_are_polled(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is cut off by a revocation may wait for the processor that the kernel would poll on."""
    done: list[str] = []
    loop = asyncio.new_event_loop()
    bus, kernel = IoBus(machine.ram, []), machine.kernel
    entry = Entry(kernel, bus, loop, lambda message: done.append("told"), lambda error: None, poll_ns=0)
    monkeypatch.setattr(os, "sched_yield", lambda: done.append("yielded"))
    with machine.ram.transaction():
        kernel.outbox.tell(Tell.DEVICE, 0)
    entry.settle()
    for _ in range(2):
        entry._serve()
    monkeypatch.undo()
    loop.close()
    assert done == ["told", "yielded"]


def test_nothing_is_polled_behind_the_end_of_a_channel(machine: Machine) -> None:
    """Whom it cuts off gets the kernel's processor at once, where that is what it waits for."""
    loop = asyncio.new_event_loop()
    kernel = machine.kernel
    entry = Entry(kernel, IoBus(machine.ram, []), loop, lambda message: None, lambda error: None, poll_ns=10**9)
    with machine.ram.transaction():
        kernel.outbox.tell(Tell.CHANNEL_GONE, 0)
    entry.settle()
    begun = time.monotonic_ns()
    assert not entry._serve()
    assert time.monotonic_ns() - begun < 5 * 10**8
    loop.close()


def test_a_bell_of_the_host_ends_the_polling(machine: Machine) -> None:
    """Who has rung it may have taken its turn on another processor: the kernel looks for it within microseconds."""
    loop = asyncio.new_event_loop()
    entry = Entry(machine.kernel, IoBus(machine.ram, []), loop, lambda message: None, lambda error: None, poll_ns=10**9)
    entry.attention[0] = 1
    begun = time.monotonic_ns()
    assert entry._serve()
    assert time.monotonic_ns() - begun < 10**9
    assert entry.attention[0] == 0
    loop.close()


@pytest.fixture
def doorbell() -> Iterator[int]:
    descriptor = os.eventfd(0, os.EFD_NONBLOCK)
    yield descriptor
    os.close(descriptor)


def host_thread(thread: harness.Thread, doorbell: int, loop: asyncio.AbstractEventLoop) -> Thread:
    process = Process(0, "task", "image", 1, loop, lambda process, what: None)
    process.close()
    return Thread(thread.tcb, process, 0, thread.tcb.trap_frame, doorbell)


def test_a_thread_that_takes_its_doorbells_count_back_keeps_nobody_waiting(machine: Machine, doorbell: int) -> None:
    """The open file is the task's as well: it clears O_NONBLOCK, rings, and takes the count before the kernel does."""
    errors: list[BaseException] = []
    served = threading.Event()

    async def attack() -> None:
        loop = asyncio.get_running_loop()
        entry = Entry(machine.kernel, IoBus(machine.ram, []), loop, lambda message: None, errors.append)
        thread = host_thread(machine.thread("task"), doorbell, loop)
        thief = os.dup(doorbell)
        stolen = loop.create_future()

        def steal() -> None:
            loop.remove_reader(thief)
            stolen.set_result(os.preadv(thief, [bytearray(8)], -1, os.RWF_NOWAIT))

        entry.open(thread)
        loop.add_reader(thief, steal)  # of several waiters the host tells the last one first
        os.set_blocking(doorbell, True)
        os.eventfd_write(doorbell, 1)
        assert await stolen == 8
        await asyncio.sleep(0)
        entry.close(thread)
        os.close(thief)
        served.set()

    worker = threading.Thread(target=lambda: asyncio.run(attack()))
    worker.start()
    in_time = served.wait(SECONDS)
    os.eventfd_write(doorbell, 1)  # lets a loop that waits go on to its end
    worker.join()
    assert in_time
    assert not errors


@dataclass(slots=True)
class Rung:
    """A kernel's loop over the rings of threads, as the host's event loop calls it when a doorbell rings."""

    machine: Machine
    loop: asyncio.AbstractEventLoop
    errors: list[BaseException] = field(default_factory=list)
    entry: Entry = field(init=False)
    bells: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        bus = IoBus(self.machine.ram, [])
        self.entry = Entry(self.machine.kernel, bus, self.loop, lambda message: None, self.errors.append, poll_ns=0)

    def open(self, thread: harness.Thread) -> Thread:
        """With its doorbell rung already."""
        self.bells.append(os.eventfd(1, os.EFD_NONBLOCK))
        opened = host_thread(thread, self.bells[-1], self.loop)
        self.entry.open(opened)
        return opened

    def turn(self) -> None:
        """What is due now."""
        self.loop.call_soon(self.loop.stop)
        self.loop.run_forever()


@pytest.fixture
def rung(machine: Machine) -> Iterator[Rung]:
    loop = asyncio.new_event_loop()
    made = Rung(machine, loop)
    yield made
    loop.close()
    for bell in made.bells:
        os.close(bell)


@pytest.mark.parametrize("ops", [(), ("fast",), ("fast", "slow"), ("slow", "fast"), ("fast",) * abi.RING_ENTRIES])
def test_a_doorbell_has_all_of_a_ring_served(rung: Rung, ops: tuple[str, ...]) -> None:
    """Whatever the fast path has done of it, before Python went on, counts once; then nothing is watched any more."""
    machine = rung.machine
    thread = machine.thread("thread")
    machine.grant(thread, machine.retype(ObjectType.NOTIFICATION), SIGNAL, badge=1)
    before = thread.tcb.consumed
    opened = rung.open(thread)
    for number, op in enumerate(ops):
        thread.submit(Syscall.NB_SEND if op == "fast" else Syscall.YIELD, SIGNAL, tag=number)
    for _ in range(2):
        rung.turn()
    assert [each.tag for each in iter(thread.completion, None)] == list(range(len(ops)))
    assert thread.tcb.consumed == before + len(ops)
    statistics = rung.entry.statistics()
    assert (statistics.taken, statistics.doorbells, statistics.watched) == (len(ops), 1, 0)
    assert opened.slot < 0
    assert not rung.errors


def test_who_rings_does_not_go_before_rings_that_are_watched(rung: Rung, monkeypatch: pytest.MonkeyPatch) -> None:
    machine, kernel = rung.machine, rung.machine.kernel
    busy, other = machine.thread("busy"), machine.thread("other")
    machine.grant(other, machine.retype(ObjectType.NOTIFICATION), SIGNAL, badge=1)
    before = other.tcb.consumed
    seen: list[int] = []
    take_slowly = kernel.take_slowly

    def take(tcb: Tcb) -> bool:
        seen.append(other.tcb.consumed - before)
        return take_slowly(tcb)

    monkeypatch.setattr(kernel, "take_slowly", take)
    rung.entry._watch(rung.open(busy))
    opened = rung.open(other)
    busy.submit(Syscall.YIELD)
    other.submit(Syscall.NB_SEND, SIGNAL)
    rung.entry._rang(opened)
    assert seen == [0]
    assert other.tcb.consumed == before + 1


def test_a_kernel_that_has_ended_hears_doorbells_and_serves_nobody(rung: Rung) -> None:
    machine = rung.machine
    thread = machine.thread("thread")
    machine.grant(thread, machine.retype(ObjectType.NOTIFICATION), SIGNAL, badge=1)
    before = thread.tcb.consumed
    rung.open(thread)
    thread.submit(Syscall.NB_SEND, SIGNAL)
    rung.entry.end()
    rung.turn()
    with pytest.raises(BlockingIOError):
        os.eventfd_read(rung.bells[0])
    assert (thread.tcb.consumed, thread.completion()) == (before, None)


def test_what_the_fast_path_cannot_do_behind_a_doorbell_ends_the_kernel(rung: Rung) -> None:
    """As in the loop over rings: it is a bug, of which the host is told."""
    machine = rung.machine
    thread = machine.thread("thread")
    opened = rung.open(thread)
    opened.frame += 8
    rung.entry._rang(opened)
    assert [type(error) for error in rung.errors] == [ValueError]
    assert not rung.entry.statistics().turns


def test_what_will_be_needed_is_made_while_no_submission_waits(
    machine: Machine, doorbell: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once the host was told something; a little at a time, and rings are looked at in between."""
    taken: list[int] = []
    monkeypatch.setattr(time, "monotonic_ns", lambda: 0)  # all in one turn, however slow the host

    def ahead() -> bool:
        if not taken:
            thread.submit(Syscall.YIELD)
        taken.append(thread.tcb.consumed)
        return len(taken) < 3

    thread = machine.thread("thread")
    loop = asyncio.new_event_loop()
    process = Process(0, "task", "image", 1, loop, lambda process, what: None)
    bus = IoBus(machine.ram, [])
    entry = Entry(machine.kernel, bus, loop, lambda message: None, lambda error: None, 0, ahead=ahead)
    ours = Thread(thread.tcb, process, 0, thread.tcb.trap_frame, doorbell)
    entry.open(ours)
    entry.look(ours)
    entry._serve()
    assert not taken  # nothing was told
    entry.look(ours)
    entry._completions.others_told = True
    before = thread.tcb.consumed
    entry._serve()
    assert taken == [before, before + 1, before + 1]
    entry.close(ours)
    process.close()
    loop.close()
