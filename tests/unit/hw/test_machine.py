"""The bus, and machines from descriptions."""

from __future__ import annotations

import os
import struct
from dataclasses import replace

import pytest

from hw.clock import ManualClock
from hw.devices.framebuffer import MAGIC, DisplayMode
from hw.interrupts import Trigger
from hw.machine import (
    BackendKind,
    DeviceDescription,
    DeviceKind,
    DeviceMemory,
    Machine,
    MachineDescription,
    create_ram,
)
from tests.unit.hw.conftest import ENTROPY_PORT, LAYOUT, RAM_BYTES, Ports, describe


def test_an_empty_port_reads_as_ones(machine: Machine) -> None:
    ports = Ports(machine, 0x8000)
    assert [ports.read(0, width) for width in (1, 2, 4)] == [0xFF, 0xFFFF, 0xFFFFFFFF]
    ports.write(0, 1)


def test_entropy_gives_what_its_source_gives(machine: Machine) -> None:
    assert Ports(machine, ENTROPY_PORT).read(0, 4) == 0x04030201


def test_two_devices_cannot_share_a_port() -> None:
    devices = tuple(DeviceDescription(name, DeviceKind.UART, port, 4) for name, port in (("a", 0x10), ("b", 0x17)))
    with pytest.raises(ValueError, match="two devices have port 0x17"):
        Machine(MachineDescription(RAM_BYTES, devices), bytearray(RAM_BYTES), LAYOUT)


def test_more_devices_than_records_are_refused() -> None:
    devices = tuple(DeviceDescription(f"d{n}", DeviceKind.CLOCK, 16 * n, n) for n in range(5))
    with pytest.raises(ValueError, match="room for 4"):
        Machine(MachineDescription(RAM_BYTES, devices), bytearray(RAM_BYTES), LAYOUT)


def test_one_console_at_most_is_on_stdio() -> None:
    devices = tuple(
        DeviceDescription(name, DeviceKind.UART, port, 4, BackendKind.STDIO) for name, port in (("a", 0), ("b", 8))
    )
    with pytest.raises(ValueError, match="a, b all have back end stdio"):
        MachineDescription(RAM_BYTES, devices)


@pytest.mark.parametrize("size", [0, -4096, 4097])
def test_ram_is_whole_pages(size: int) -> None:
    with pytest.raises(ValueError, match="multiple of 4096"):
        MachineDescription(size)


def test_a_device_description_survives_json() -> None:
    for device in (
        *describe().devices,
        DeviceDescription("console", DeviceKind.UART, 0x3F8, 4, BackendKind.PTY, Trigger.EDGE),
    ):
        assert DeviceDescription.from_plain(device.plain()) == device


def test_ram_is_sparse() -> None:
    descriptor = create_ram(4 << 30, "test")
    try:
        status = os.fstat(descriptor)
        assert status.st_size == 4 << 30
        assert status.st_blocks == 0
        machine = Machine.on_memory(MachineDescription(4 << 30), descriptor, LAYOUT)
        machine.power_on()
        assert os.fstat(descriptor).st_blocks * 512 < 1 << 20
    finally:
        os.close(descriptor)


def screen(name: str, port: int, mode: DisplayMode) -> DeviceDescription:
    return DeviceDescription(name, DeviceKind.FRAMEBUFFER, port, port & 0xF, display=mode)


def test_registers_in_memory_are_those_at_the_ports(clock: ManualClock) -> None:
    uart = DeviceDescription("uart", DeviceKind.UART, 0x3F8, 4, maps_registers=True)
    entropy = DeviceDescription("entropy", DeviceKind.ENTROPY, 0x100, 9)
    timer = DeviceDescription("clock", DeviceKind.CLOCK, 0x40, 8, maps_registers=True)
    description = MachineDescription(RAM_BYTES, (uart, entropy, timer))
    assert description.device_memory == (DeviceMemory(RAM_BYTES, 12), None, DeviceMemory(RAM_BYTES + 4096, 12))
    assert DeviceDescription.from_plain(uart.plain()) == uart
    former = uart.plain()
    del former["maps_registers"]  # as an older monitor has it
    assert not DeviceDescription.from_plain(former).maps_registers
    machine = Machine(description, bytearray(description.memory_bytes), LAYOUT, clock)
    machine.power_on()
    bus, page = machine.bus, RAM_BYTES
    assert [bus.has_registers(at) for at in (page, page + 4096, page + 1, page + 8192)] == [True, True, False, False]
    with machine.ram.transaction():
        bus.store(page + 7, 1, 0x5A)
        assert (bus.load(page + 7, 1), bus.read(0x3FF, 1), bus.load(page + 4, 4) >> 24) == (0x5A, 0x5A, 0x5A)
        bus.store(page + 8, 4, 1)
        assert (bus.load(page + 8, 1), bus.load(page + 4092, 4)) == (0, 0)
        bus.store(page + 1, 1, 2)
    assert bus.lines.high == 1 << 4, "the UART asks for a byte to send"
    with pytest.raises(ValueError, match="framebuffer screen has memory of its own"):
        MachineDescription(RAM_BYTES, (replace(screen("screen", 0x201, DisplayMode(8, 8, 1)), maps_registers=True),))


def test_devices_memory_lies_behind_ram_aligned_to_its_size_in_their_order() -> None:
    small, large = screen("small", 0x201, DisplayMode(8, 8, 1)), screen("large", 0x302, DisplayMode(640, 480, 1))
    clock = DeviceDescription("clock", DeviceKind.CLOCK, 0x40, 8)
    machine = MachineDescription(5 << 20, (small, clock, large))
    assert machine.device_memory == (DeviceMemory(5 << 20, 13), None, DeviceMemory(6 << 20, 21))
    assert machine.memory_bytes == 8 << 20
    assert MachineDescription(5 << 20, (clock,)).memory_bytes == 5 << 20
    assert DeviceDescription.from_plain(large.plain()) == large
    descriptor = create_ram(machine.memory_bytes, "test")
    try:
        built = Machine.on_memory(machine, descriptor, LAYOUT)
        built.power_on()
        (magic, width) = struct.unpack("<2I", os.pread(descriptor, 8, machine.memory_bytes - 4096))
        assert (magic, width) == (MAGIC, 640)
    finally:
        os.close(descriptor)
    with pytest.raises(ValueError, match=f"memory of {5 << 20} bytes; the machine has {8 << 20}"):
        Machine(machine, bytearray(5 << 20), LAYOUT)
    with pytest.raises(ValueError, match="framebuffer screen has no width"):
        Machine(
            MachineDescription(RAM_BYTES, (DeviceDescription("screen", DeviceKind.FRAMEBUFFER, 0x40, 8),)),
            bytearray(RAM_BYTES),
            LAYOUT,
        )
