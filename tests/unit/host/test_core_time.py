"""Virtual time jumps to the next event while nobody runs; by the host's time slices end."""

from __future__ import annotations

import asyncio

import pytest

from hw.devices.bus import IoBus
from hw.devices.clock import CONTROL_COMPARE, CONTROL_INTERRUPT, STATUS_FIRED, Clock
from kerneld import budgets, layout
from kerneld.host.core_time import HostTime, VirtualAlarms, VirtualTime
from libsel4py.abi import InitialSlot, Label, Syscall
from tests.harness import Machine


class Idle:
    """A machine with virtual time and a clock, whose initial task has stopped."""

    def __init__(self) -> None:
        self.machine = Machine(cores=1, step_us=10)
        self.kernel = self.machine.kernel
        ram = self.machine.ram
        self.clock = Clock(ram, layout.DEVICE_RECORDS, 0, 0x40, 0, self.kernel.core.now)
        self.bus = IoBus(ram, [self.clock])
        self.alarms = VirtualAlarms(lambda context: 700)
        self.time = VirtualTime(self.kernel, self.bus, self.alarms, self._settle)
        self.thread = self.machine.thread("thread", start=False)

    def _settle(self) -> None:
        self.machine.settle()
        self.time.passed()

    def stop(self) -> None:
        root = self.machine.root
        assert root.syscall(Syscall.CALL, InitialSlot.TCB, label=Label.TCB_SUSPEND) is None

    def compare(self, at_us: int) -> None:
        with self.machine.ram.transaction():
            self.clock.state.compare = at_us
            self.clock.state.control = CONTROL_COMPARE | CONTROL_INTERRUPT


@pytest.fixture
def idle() -> Idle:
    return Idle()


def test_time_stands_while_somebody_runs(idle: Idle) -> None:
    idle.compare(10**6)
    before = idle.kernel.core.now()
    assert not idle.time.idle()
    assert idle.kernel.core.now() == before


def test_time_jumps_to_where_the_clock_fires(idle: Idle) -> None:
    idle.stop()
    idle.compare(10**6)
    assert idle.time.idle()
    assert idle.kernel.core.now() == 10**6
    assert idle.clock.state.status == STATUS_FIRED


def test_a_clock_that_nobody_looks_at_does_not_drive_time_on(idle: Idle) -> None:
    idle.stop()
    with idle.machine.ram.transaction():
        idle.clock.state.period = 1000
    idle.compare(10**6)
    assert idle.time.idle()
    assert not idle.time.idle()
    assert idle.kernel.core.now() == 10**6


def test_nothing_to_wait_for(idle: Idle) -> None:
    idle.stop()
    assert not idle.time.idle()


def test_budgets_are_looked_at_in_time_and_in_order(idle: Idle, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []
    monkeypatch.setattr(budgets, "look", lambda core, context: looked.append(context.address))
    idle.kernel.core.take_due = idle.alarms.take_due
    idle.stop()
    with idle.machine.ram.transaction():
        idle.kernel.core.kernel.virtual_us = 100
    for context in (3, 1, 2):
        idle.alarms.watch(context)
    idle.alarms.forget(2)
    assert idle.time.idle()
    assert (looked, idle.kernel.core.now(), len(idle.alarms)) == ([1, 3], 700, 0)


def test_by_the_hosts_time_a_slice_ends_where_another_thread_waits() -> None:
    machine = Machine(cores=1)
    threads = [machine.thread(name) for name in ("first", "second")]
    loop = asyncio.new_event_loop()

    def settle() -> None:
        machine.settle()
        loop.stop()

    time = HostTime(machine.kernel, loop, settle)
    time.passed()
    assert machine.root.syscall(Syscall.CALL, InitialSlot.TCB, label=Label.TCB_SUSPEND) is None
    assert [thread.tcb.waits_turn for thread in threads] == [1, 0]
    time.passed()
    machine.used[threads[1].tcb.address] = 5000
    loop.run_forever()
    loop.close()
    assert [thread.tcb.waits_turn for thread in threads] == [0, 1]


def test_one_that_keeps_the_core_and_does_not_use_it_lets_its_equals_run() -> None:
    """It waits for what another one has that is ready (a lock inside their process): a look, and the next one."""
    machine = Machine(cores=1)
    threads = [machine.thread(name) for name in ("first", "second")]
    loop = asyncio.new_event_loop()
    looks = []

    def settle() -> None:
        machine.settle()
        looks.append([thread.tcb.waits_turn for thread in threads])
        if len(looks) == 2:
            loop.stop()
        else:
            time.passed()

    time = HostTime(machine.kernel, loop, settle)
    assert machine.root.syscall(Syscall.CALL, InitialSlot.TCB, label=Label.TCB_SUSPEND) is None
    time.passed()
    loop.call_later(10, loop.stop)
    loop.run_forever()
    loop.close()
    assert looks == [[1, 0], [0, 1]]
