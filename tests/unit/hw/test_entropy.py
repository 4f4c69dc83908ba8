"""The entropy device's registers and its DMA."""

from __future__ import annotations

import asyncio

import pytest

from hw.devices import entropy as chip
from hw.devices.entropy import Entropy
from hw.devices.transfers import Transfers
from hw.iommu import FaultKind, Span
from hw.machine import Machine
from tests.unit.hw.conftest import ENTROPY_PORT, LAYOUT, RAM_BYTES, Ports, describe

IRQ = 1 << 9
NUMBER = 2
FRAME, FRAME_BYTES = 0x8000, 0x6000
AT = 0x1_0000_2000  # where the device's IOSpace has the frame: past 32 bits


@pytest.fixture
def device(machine: Machine) -> Entropy:
    map_frame(machine)
    found = machine.bus.devices[NUMBER]
    assert isinstance(found, Entropy)
    return found


@pytest.fixture
def ports(machine: Machine) -> Ports:
    return Ports(machine, ENTROPY_PORT)


def map_frame(machine: Machine, size: int = FRAME_BYTES) -> None:
    def translate(device: int, address: int) -> Span | None:
        into = address - AT
        inside = device == NUMBER and 0 <= into < size
        return Span(FRAME + into, size - into, True, True) if inside else None

    machine.iommu.use_translation(translate)


def go(ports: Ports, address: int, length: int, control: int = chip.CONTROL_GO | chip.CONTROL_INTERRUPT) -> None:
    ports.write(chip.ADDRESS_LOW, address & chip.LOW_HALF, 4)
    ports.write(chip.ADDRESS_HIGH, address >> 32, 4)
    ports.write(chip.LENGTH, length, 4)
    ports.write(chip.CONTROL, control)


def chunk(machine: Machine, device: Entropy) -> None:
    machine.bus.change(device, device.transfer)


def test_go_asks_for_the_host_and_a_transfer_fills_memory(machine: Machine, device: Entropy, ports: Ports) -> None:
    kicks: list[int] = []
    machine.bus.set_kick(kicks.append)
    go(ports, AT + 1, 5)
    assert kicks == [NUMBER]
    assert ports.read(chip.STATUS) == chip.STATUS_BUSY
    assert machine.bus.lines.high == 0
    chunk(machine, device)
    assert machine.ram.read(FRAME, 7) == b"\0\1\2\3\4\5\0"
    assert ports.read(chip.STATUS) == chip.STATUS_DONE
    assert ports.read(chip.COUNT, 4) == 5
    assert machine.bus.lines.high == IRQ
    ports.write(chip.STATUS, chip.STATUS_DONE)
    assert machine.bus.lines.high == 0


def test_a_foreign_address_is_a_fault_in_the_status(machine: Machine, device: Entropy, ports: Ports) -> None:
    before = machine.ram.read(FRAME, FRAME_BYTES)
    go(ports, FRAME, 4096)
    chunk(machine, device)
    assert ports.read(chip.STATUS) == chip.STATUS_FAULT
    assert ports.read(chip.FAULT_KIND) == FaultKind.NOT_MAPPED
    assert (ports.read(chip.FAULT_LOW, 4), ports.read(chip.FAULT_HIGH, 4)) == (FRAME, 0)
    assert ports.read(chip.COUNT, 4) == 0
    assert machine.bus.lines.high == IRQ
    assert machine.ram.read(FRAME, FRAME_BYTES) == before
    ports.write(chip.STATUS, chip.STATUS_FAULT)
    assert (ports.read(chip.STATUS), machine.bus.lines.high) == (0, 0)


def test_a_long_transfer_goes_in_chunks_until_memory_is_taken_away(
    machine: Machine, device: Entropy, ports: Ports
) -> None:
    go(ports, AT, FRAME_BYTES)
    chunk(machine, device)
    assert ports.read(chip.STATUS) == chip.STATUS_BUSY
    assert ports.read(chip.COUNT, 4) == chip.CHUNK_BYTES
    map_frame(machine, chip.CHUNK_BYTES)
    chunk(machine, device)
    assert ports.read(chip.STATUS) == chip.STATUS_FAULT
    assert ports.read(chip.COUNT, 4) == chip.CHUNK_BYTES
    refused = ports.read(chip.FAULT_HIGH, 4) << 32 | ports.read(chip.FAULT_LOW, 4)
    assert refused == AT + chip.CHUNK_BYTES
    chunk(machine, device)
    assert ports.read(chip.STATUS) == chip.STATUS_FAULT


def test_while_it_is_busy_go_does_nothing(machine: Machine, device: Entropy, ports: Ports) -> None:
    go(ports, AT, chip.CHUNK_BYTES + 1)
    chunk(machine, device)
    go(ports, AT + 64, 2)
    chunk(machine, device)
    assert ports.read(chip.STATUS) == chip.STATUS_DONE
    assert ports.read(chip.COUNT, 4) == chip.CHUNK_BYTES + 1


def test_nothing_is_done_at_once(machine: Machine, device: Entropy, ports: Ports) -> None:
    go(ports, 0, 0)
    chunk(machine, device)
    assert ports.read(chip.STATUS) == chip.STATUS_DONE


def test_registers_hold_what_they_can(ports: Ports) -> None:
    go(ports, 0xFEDCBA98_76543210, 0x89ABCDEF, 0xFF & ~chip.CONTROL_GO)
    read = [ports.read(at, 4) for at in (chip.ADDRESS_LOW, chip.ADDRESS_HIGH, chip.LENGTH)]
    assert read == [0x76543210, 0xFEDCBA98, 0x89ABCDEF]
    assert ports.read(chip.CONTROL) == chip.CONTROL_INTERRUPT
    ports.write(chip.STATUS, 0xFF)
    ports.write(chip.COUNT, 1, 4)
    ports.write(chip.LENGTH, 1, 2)
    assert [ports.read(chip.STATUS), ports.read(chip.COUNT, 4), ports.read(chip.LENGTH, 4)] == [0, 0, 0x89ABCDEF]
    assert ports.read(chip.ADDRESS_LOW, 1) == 0


def test_a_rolled_back_go_is_none(machine: Machine, device: Entropy) -> None:
    machine.ram.begin()
    machine.bus.write(ENTROPY_PORT + chip.CONTROL, 1, chip.CONTROL_GO)
    machine.ram.recover()
    assert not device.is_busy


def test_the_back_end_makes_the_transfer_also_of_a_kernel_before() -> None:
    window = bytearray(RAM_BYTES)
    first = Machine(describe(), window, LAYOUT)
    go(Ports(first, ENTROPY_PORT), AT, FRAME_BYTES)
    machine = Machine(describe(), window, LAYOUT, entropy=lambda count: b"\x55" * count)
    map_frame(machine)
    device = machine.bus.devices[NUMBER]
    assert isinstance(device, Entropy)

    async def run() -> None:
        finished = asyncio.get_running_loop().create_future()

        def changed() -> None:
            if not device.is_busy:
                finished.set_result(None)

        back_end = Transfers(asyncio.get_running_loop(), machine.bus, device, changed)
        await asyncio.wait_for(finished, 5)
        back_end.kicked()
        back_end.close()

    asyncio.run(run())
    assert machine.ram.read(FRAME, FRAME_BYTES) == b"\x55" * FRAME_BYTES
    assert machine.bus.lines.high == IRQ
