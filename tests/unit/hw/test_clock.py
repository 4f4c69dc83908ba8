"""The clock device's registers and firing."""

from __future__ import annotations

import asyncio

import pytest

from hw.clock import ManualClock, host_microseconds
from hw.devices import clock as chip
from hw.devices.clock import Clock
from hw.devices.timer import ClockTimer
from hw.machine import Machine
from tests.unit.hw.conftest import LAYOUT, RAM_BYTES, Ports, describe

IRQ = 1 << 8


def select_read(ports: Ports, register: int) -> int:
    ports.write(chip.INDEX, register)
    return ports.read(chip.DATA, 4)


def select_write(ports: Ports, register: int, value: int) -> None:
    ports.write(chip.INDEX, register)
    ports.write(chip.DATA, value, 4)


def arm(ports: Ports, at: int, period: int = 0) -> None:
    select_write(ports, chip.PERIOD, period)
    select_write(ports, chip.COMPARE_LOW, at & chip.LOW_HALF)
    select_write(ports, chip.COMPARE_HIGH, at >> 32)
    select_write(ports, chip.CONTROL, chip.CONTROL_COMPARE | chip.CONTROL_INTERRUPT)


@pytest.fixture
def device(machine: Machine) -> Clock:
    found = machine.bus.devices[1]
    assert isinstance(found, Clock)
    return found


def test_the_halves_of_the_counter_belong_together(clock: ManualClock, clock_ports: Ports) -> None:
    clock.advance((7 << 32) - 1)
    assert select_read(clock_ports, chip.COUNTER_LOW) == chip.LOW_HALF
    clock.advance(1)
    assert select_read(clock_ports, chip.COUNTER_HIGH) == 6
    assert select_read(clock_ports, chip.COUNTER_LOW) == 0
    assert select_read(clock_ports, chip.COUNTER_HIGH) == 7


def test_one_shot_fires_once(clock: ManualClock, machine: Machine, clock_ports: Ports, device: Clock) -> None:
    arm(clock_ports, 500)
    assert device.deadline() == 500
    clock.advance(499)
    machine.bus.change(device, device.fire)
    assert machine.bus.lines.high == 0
    clock.advance(1)
    machine.bus.change(device, device.fire)
    assert machine.bus.lines.high == IRQ
    assert device.deadline() is None
    clock_ports.write(chip.STATUS, chip.STATUS_FIRED)
    assert machine.bus.lines.high == 0


def test_a_delay_is_from_now(clock: ManualClock, machine: Machine, clock_ports: Ports, device: Clock) -> None:
    arm(clock_ports, 7)
    clock.advance(1 << 33)
    clock_ports.write(chip.INDEX, chip.DELAY)
    for _ in range(2):  # a later one replaces it, without INDEX
        clock_ports.write(chip.DATA, 5000, 4)
        assert device.deadline() == 5000
        clock.advance(4999)
        machine.bus.change(device, device.fire)
        assert machine.bus.lines.high == 0
    clock.advance(1)
    machine.bus.change(device, device.fire)
    assert machine.bus.lines.high == IRQ
    assert device.deadline() is None
    assert clock_ports.read(chip.DATA, 4) == 0


def test_a_delay_is_repeated_with_the_period(
    clock: ManualClock, machine: Machine, clock_ports: Ports, device: Clock
) -> None:
    select_write(clock_ports, chip.PERIOD, 1000)
    select_write(clock_ports, chip.DELAY, 5000)
    clock.advance(5000)
    machine.bus.change(device, device.fire)
    assert machine.bus.lines.high == IRQ
    assert device.deadline() == 1000
    clock.advance(400)
    select_write(clock_ports, chip.DELAY, 5000)
    assert device.deadline() == 5000


def test_periods_that_went_by_are_counted(
    clock: ManualClock, machine: Machine, clock_ports: Ports, device: Clock
) -> None:
    arm(clock_ports, 1000, period=1000)
    clock.advance(3500)
    machine.bus.change(device, device.fire)
    assert device.deadline() == 500
    assert select_read(clock_ports, chip.MISSED) == 2
    clock.advance(500)
    machine.bus.change(device, device.fire)
    assert select_read(clock_ports, chip.MISSED) == 1
    assert select_read(clock_ports, chip.MISSED) == 0


def test_a_period_has_a_least_length(clock_ports: Ports) -> None:
    select_write(clock_ports, chip.PERIOD, 1)
    assert select_read(clock_ports, chip.PERIOD) == chip.MIN_PERIOD_US


def test_unknown_registers_read_zero(clock_ports: Ports) -> None:
    select_write(clock_ports, 200, 5)
    assert select_read(clock_ports, 200) == 0
    assert clock_ports.read(2) == 0


def test_the_timer_fires_the_real_clock() -> None:
    async def fired() -> int:
        machine = Machine(describe(), bytearray(RAM_BYTES), LAYOUT, host_microseconds)
        machine.power_on()
        device = machine.bus.devices[1]
        assert isinstance(device, Clock)
        raised = asyncio.get_running_loop().create_future()
        timer = ClockTimer(asyncio.get_running_loop(), machine.bus, device, lambda: raised.set_result(device.counter()))
        ports = Ports(machine, device.first_port)
        due = device.counter() + 2000
        arm(ports, due)
        timer.kicked()
        at = await raised
        timer.close()
        assert machine.bus.lines.high == IRQ
        return int(at) - due

    assert asyncio.run(asyncio.wait_for(fired(), 10)) >= 0
