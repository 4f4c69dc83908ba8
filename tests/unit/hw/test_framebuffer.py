"""The framebuffer: registers in memory that its driver can write to, ports, and what it shows when."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable

import pytest

from hw.devices import framebuffer as chip
from hw.devices.framebuffer import MAGIC, MOST_BYTES, DisplayMode, Framebuffer
from hw.devices.refresh import RATE, Refresh
from hw.machine import DeviceDescription, DeviceKind, Machine, MachineDescription
from tests.unit.hw.conftest import LAYOUT, RAM_BYTES, Ports

PORT, IRQ = 0x200, 5
LINE = 1 << IRQ
MODE = DisplayMode(10, 3, 2)
PAGE = 4096
DESCRIPTION = MachineDescription(
    RAM_BYTES, (DeviceDescription("screen", DeviceKind.FRAMEBUFFER, PORT, IRQ, display=MODE),)
)
REGISTERS = RAM_BYTES + 3 * PAGE  # of two pictures of a page each, four pages: the last one
NEXT = REGISTERS + chip.NEXT


class Scene:
    def __init__(self) -> None:
        self.window = bytearray(DESCRIPTION.memory_bytes)
        self.machine = Machine(DESCRIPTION, self.window, LAYOUT)
        self.machine.power_on()
        self.ports = Ports(self.machine, PORT)
        self.kicks: list[int] = []
        self.machine.bus.set_kick(self.kicks.append)

    @property
    def device(self) -> Framebuffer:
        found = self.machine.bus.devices[0]
        assert isinstance(found, Framebuffer)
        return found

    def present(self, number: int) -> None:
        self.machine.ram.poke(NEXT, struct.pack("<I", number))
        self.ports.write(chip.PRESENT, 0)

    def refresh(self) -> None:
        self.machine.bus.change(self.device, self.device.show)

    def registers(self) -> tuple[int, ...]:
        return chip.REGISTERS.unpack(self.machine.ram.read(REGISTERS, chip.REGISTERS.size))


@pytest.fixture
def scene() -> Scene:
    return Scene()


def own(shown: int = 0, presented: int = 0) -> tuple[int, ...]:
    return (MAGIC, 10, 3, 40, chip.FORMAT, 2, PAGE, shown, presented)


def test_it_says_what_it_is_from_power_on_on(scene: Scene) -> None:
    assert scene.registers() == own()
    assert scene.device.picture() == bytes(120)


def test_what_is_presented_is_shown_from_the_next_refresh_on(scene: Scene) -> None:
    scene.machine.ram.poke(RAM_BYTES, b"\1" * 120)
    scene.machine.ram.poke(RAM_BYTES + PAGE, b"\2" * 121)
    scene.ports.write(chip.CONTROL, chip.CONTROL_INTERRUPT)
    scene.present(1)
    assert scene.kicks == [0]
    assert scene.ports.read(chip.STATUS) == chip.STATUS_BUSY
    assert scene.machine.bus.lines.high == 0
    assert (scene.device.picture(), scene.registers()) == (b"\1" * 120, own())
    scene.refresh()
    assert scene.ports.read(chip.STATUS) == chip.STATUS_DONE
    assert scene.machine.bus.lines.high == LINE
    assert (scene.device.picture(), scene.registers()) == (b"\2" * 120, own(1, 1))
    scene.refresh()
    assert scene.registers() == own(1, 1)
    scene.ports.write(chip.STATUS, chip.STATUS_DONE)
    assert (scene.ports.read(chip.STATUS), scene.machine.bus.lines.high) == (0, 0)


def test_next_is_taken_once_and_another_one_takes_its_place(scene: Scene) -> None:
    scene.present(1)
    scene.machine.ram.poke(NEXT, b"\xff" * 4)
    scene.refresh()
    assert scene.device.report() == {"mode": "10x3", "shown": 1, "presented": 1}
    scene.present(1)
    scene.present(0)
    scene.refresh()
    assert scene.device.report() == {"mode": "10x3", "shown": 0, "presented": 2}


@pytest.mark.parametrize("number", [2, 3, 1 << 31, (1 << 32) - 1])
def test_what_is_no_picture_is_a_fault_and_what_is_shown_stays(scene: Scene, number: int) -> None:
    scene.ports.write(chip.CONTROL, chip.CONTROL_INTERRUPT)
    scene.present(number)
    assert scene.ports.read(chip.STATUS) == chip.STATUS_FAULT
    assert scene.machine.bus.lines.high == LINE
    assert scene.kicks == []
    scene.refresh()
    assert scene.registers() == own()
    scene.ports.write(chip.STATUS, 0xFF)
    assert scene.ports.read(chip.STATUS) == 0


def test_it_believes_nothing_in_its_memory_and_writes_its_registers_anew(scene: Scene) -> None:
    scene.machine.ram.poke(RAM_BYTES, b"\xff" * (4 * PAGE - 64))
    scene.machine.ram.poke(REGISTERS, b"\xff" * chip.NEXT)
    assert len(scene.device.picture()) == 120
    scene.present(1)
    scene.refresh()
    assert scene.registers() == own(1, 1)
    assert scene.machine.ram.read(REGISTERS + chip.REGISTERS.size, 4) == b"\xff" * 4  # no register of its


def test_other_ports_and_widths_read_nothing_and_do_nothing(scene: Scene) -> None:
    scene.machine.ram.poke(NEXT, struct.pack("<I", 1))
    for offset, width in ((0, 2), (0, 4), (1, 2), (2, 2), (3, 1)):
        scene.ports.write(offset, 0xFFFF_FFFF >> 32 - 8 * width, width)
        assert scene.ports.read(offset, width) == 0
    assert (scene.kicks, scene.ports.read(chip.STATUS), scene.ports.read(chip.CONTROL)) == ([], 0, 0)


def test_a_kernel_that_is_started_again_finds_it_as_it_was(scene: Scene) -> None:
    scene.present(1)
    again = Machine(DESCRIPTION, scene.window, LAYOUT)
    device = again.bus.devices[0]
    assert isinstance(device, Framebuffer)
    assert device.is_busy
    again.bus.change(device, device.show)
    assert scene.registers() == own(1, 1)


def test_a_refresh_comes_once_for_all_that_was_presented_before_it(scene: Scene) -> None:
    async def work() -> None:
        shown, loop = asyncio.Event(), asyncio.get_running_loop()
        back_end = Refresh(loop, scene.machine.bus, scene.device, shown.set)
        scene.machine.bus.set_kick(lambda number: back_end.kicked())
        begun = loop.time()
        scene.present(1)
        scene.present(0)
        await shown.wait()
        assert loop.time() - begun < 1
        assert scene.device.report()["presented"] == 1
        scene.present(1)
        back_end.close()
        later = Refresh(loop, scene.machine.bus, scene.device, shown.set)  # a kernel that is started again
        shown.clear()
        await shown.wait()
        assert scene.device.report() == {"mode": "10x3", "shown": 1, "presented": 2}
        later.close()

    asyncio.run(work())


def test_refreshes_are_sixty_a_second() -> None:
    class Loop:
        def __init__(self, now: float) -> None:
            self.now, self.at = now, 0.0

        def time(self) -> float:
            return self.now

        def call_at(self, when: float, call: Callable[[], None]) -> None:
            self.at = when

    scene = Scene()
    scene.present(1)
    for now in (0.0, 1.0, 1.0041, 7.99):
        loop = Loop(now)
        Refresh(loop, scene.machine.bus, scene.device, lambda: None)  # type: ignore[arg-type]  # what it uses of one
        assert now < loop.at <= now + 1.001 / RATE
        assert round(loop.at * RATE) == pytest.approx(loop.at * RATE)


@pytest.mark.parametrize(("width", "height", "pictures", "bits"), [(1, 1, 1, 13), (1024, 1, 1, 13), (1024, 2, 2, 15)])
def test_memory_is_a_power_of_two_with_room_for_pictures_and_registers(
    width: int, height: int, pictures: int, bits: int
) -> None:
    mode = DisplayMode(width, height, pictures)
    assert mode.memory_bits == bits
    assert pictures * mode.picture_bytes + PAGE <= 1 << bits
    assert DisplayMode.from_plain(mode.plain()) == mode


def test_the_largest_one_fits_twice_the_memory_of_its_pictures() -> None:
    mode = DisplayMode(2048, 2048, 1)
    assert mode.picture_bytes == MOST_BYTES
    assert 1 << mode.memory_bits == 2 * MOST_BYTES
