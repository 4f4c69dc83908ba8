"""Machines without processes: RAM is a bytearray, time goes when it is told to."""

from __future__ import annotations

import gc
from collections.abc import Callable

import pytest

from hw.clock import ManualClock
from hw.interrupts import Trigger
from hw.machine import DeviceDescription, DeviceKind, Machine, MachineDescription, RamLayout

LAYOUT = RamLayout(
    log_address=0x1000,
    log_bytes=0x2000,
    device_records=0x4000,
    device_record_bytes=0x1000,
    device_record_count=4,
)
RAM_BYTES = 0x10000
UART_PORT, CLOCK_PORT, ENTROPY_PORT = 0x3F8, 0x40, 0x100

MachineMaker = Callable[..., Machine]


def describe(trigger: Trigger = Trigger.LEVEL) -> MachineDescription:
    return MachineDescription(
        RAM_BYTES,
        (
            DeviceDescription("uart", DeviceKind.UART, UART_PORT, 4, trigger=trigger),
            DeviceDescription("clock", DeviceKind.CLOCK, CLOCK_PORT, 8, trigger=trigger),
            DeviceDescription("entropy", DeviceKind.ENTROPY, ENTROPY_PORT, 9),
        ),
    )


@pytest.fixture(autouse=True)
def collected() -> None:
    """What tests before have left does not end while a test counts descriptors."""
    gc.collect()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1_000_000)


@pytest.fixture
def make_machine(clock: ManualClock) -> MachineMaker:
    def make(trigger: Trigger = Trigger.LEVEL, window: bytearray | None = None) -> Machine:
        fresh = window is None
        memory = bytearray(RAM_BYTES) if window is None else window
        machine = Machine(
            describe(trigger), memory, LAYOUT, clock, lambda count: bytes(n % 256 for n in range(1, count + 1))
        )
        if fresh:
            machine.power_on()
        return machine

    return make


@pytest.fixture
def machine(make_machine: MachineMaker) -> Machine:
    return make_machine()


class Ports:
    """The bus as a driver sees it: each access is a transaction."""

    def __init__(self, machine: Machine, first: int) -> None:
        self._machine = machine
        self._first = first

    def read(self, offset: int, width: int = 1) -> int:
        self._machine.ram.begin()
        value = self._machine.bus.read(self._first + offset, width)
        self._machine.ram.commit()
        return value

    def write(self, offset: int, value: int, width: int = 1) -> None:
        with self._machine.ram.transaction():
            self._machine.bus.write(self._first + offset, width, value)


@pytest.fixture
def uart_ports(machine: Machine) -> Ports:
    return Ports(machine, UART_PORT)


@pytest.fixture
def clock_ports(machine: Machine) -> Ports:
    return Ports(machine, CLOCK_PORT)
