"""Back ends with real pipes, files and pseudo-terminals."""

from __future__ import annotations

import asyncio
import errno
import os
import termios
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from hw.devices import uart as chip
from hw.devices.descriptors import DescriptorBackend, can_wait
from hw.devices.pty import PtyBackend
from hw.devices.serial_line import SerialLine
from hw.devices.stdio import RawTerminal
from hw.devices.uart import Uart
from hw.machine import Machine
from tests.unit.hw.conftest import UART_PORT, Ports

TEXT = bytes(range(256)) * 20


class Driver:
    """Drives the UART as a serial driver does, woken by each change; what it reads, it keeps."""

    def __init__(self, machine: Machine) -> None:
        device = machine.bus.devices[0]
        assert isinstance(device, Uart)
        self.ports = Ports(machine, UART_PORT)
        self.line = SerialLine(machine.bus, device, self._changed)
        self.received = bytearray()
        self.ended = asyncio.Event()
        self.changed = asyncio.Event()
        self.kick: Callable[[], None] = lambda: None
        machine.bus.set_kick(lambda number: self.kick())
        self.ports.write(chip.FCR, chip.FCR_ENABLE | chip.FCR_64_BYTES)
        self.ports.write(chip.IER, chip.IER_RECEIVED | chip.IER_MODEM)
        self.ports.write(chip.MCR, chip.MCR_DTR | chip.MCR_RTS | chip.MCR_OUT2)

    def _changed(self) -> None:
        while self.ports.read(chip.LSR) & chip.LSR_DATA_READY:
            self.received.append(self.ports.read(chip.RBR))
        if not self.ports.read(chip.MSR) & chip.MSR_DCD:
            self.ended.set()
        self.changed.set()

    async def send(self, data: bytes) -> None:
        while data:
            if self.ports.read(chip.LSR) & chip.LSR_THR_EMPTY:
                for byte in data[:64]:
                    self.ports.write(chip.THR, byte)
                data = data[64:]
            self.changed.clear()
            await self.changed.wait()

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self.changed.clear()
            await self.changed.wait()


def run(machine: Machine, work: Callable[[Driver], Awaitable[None]]) -> None:
    async def within() -> None:
        await work(Driver(machine))

    asyncio.run(asyncio.wait_for(within(), 20))


def open_descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


def test_a_pipe_is_read_to_its_end_and_the_carrier_drops(machine: Machine) -> None:
    async def work(driver: Driver) -> None:
        source, feed = os.pipe()
        os.write(feed, TEXT)
        os.close(feed)
        backend = DescriptorBackend(asyncio.get_running_loop(), driver.line, source, source)
        driver.kick = backend.kicked
        await driver.ended.wait()
        backend.close()
        os.close(source)
        assert driver.received == TEXT

    run(machine, work)


def test_a_file_is_read_to_its_end(machine: Machine, tmp_path: Path) -> None:
    async def work(driver: Driver) -> None:
        (tmp_path / "input").write_bytes(TEXT)
        with open(tmp_path / "input", "rb") as source, open(tmp_path / "output", "wb") as target:
            assert not can_wait(source.fileno())
            backend = DescriptorBackend(asyncio.get_running_loop(), driver.line, source.fileno(), target.fileno())
            driver.kick = backend.kicked
            await driver.ended.wait()
            await driver.send(TEXT)
            backend.close()
        assert driver.received == TEXT
        assert (tmp_path / "output").read_bytes() == TEXT

    run(machine, work)


def test_a_full_pipe_holds_the_transmitter_and_blocks_nobody(machine: Machine) -> None:
    async def work(driver: Driver) -> None:
        read_end, write_end = os.pipe()
        os.set_blocking(write_end, False)
        filled = 0
        while True:
            try:
                filled += os.write(write_end, bytes(4096))
            except BlockingIOError:
                break
        os.set_blocking(write_end, True)
        nothing, feed = os.pipe()
        backend = DescriptorBackend(asyncio.get_running_loop(), driver.line, nothing, write_end)
        driver.kick = backend.kicked
        sending = asyncio.create_task(driver.send(b"late"))
        turn = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(asyncio.get_running_loop().call_soon, turn.set_result, None)
        await turn
        assert driver.line.sending() == b"late"
        while filled:
            filled -= len(os.read(read_end, filled))
        await sending
        assert os.read(read_end, 100) == b"late"
        backend.close()
        for descriptor in (read_end, write_end, nothing, feed):
            os.close(descriptor)

    run(machine, work)


def test_output_that_nobody_can_read_is_dropped(machine: Machine) -> None:
    async def work(driver: Driver) -> None:
        read_end, write_end = os.pipe()
        os.close(read_end)
        nothing, feed = os.pipe()
        lost: list[int] = []
        backend = DescriptorBackend(asyncio.get_running_loop(), driver.line, nothing, write_end, lost=lost.append)
        driver.kick = backend.kicked
        await driver.send(TEXT)
        assert not lost
        backend.close()
        for descriptor in (write_end, nothing, feed):
            os.close(descriptor)

    run(machine, work)


def test_a_file_without_room_loses_output_and_takes_it_again_later(machine: Machine, tmp_path: Path) -> None:
    async def work(driver: Driver) -> None:
        place = os.open(tmp_path / "output", os.O_RDWR | os.O_CREAT)
        full = os.open("/dev/full", os.O_WRONLY)
        target = os.dup(full)
        nothing, feed = os.pipe()
        backend = DescriptorBackend(asyncio.get_running_loop(), driver.line, nothing, target)
        driver.kick = backend.kicked
        await driver.send(b"lost")
        os.dup2(place, target)
        await driver.send(b"kept")
        assert os.pread(place, 100, 0) == b"kept"
        backend.close()
        for descriptor in (place, full, target, nothing, feed):
            os.close(descriptor)

    run(machine, work)


@pytest.mark.parametrize(
    ("file", "mode", "told"), [("/dev/full", os.O_WRONLY, errno.ENOSPC), ("/dev/null", os.O_RDONLY, errno.EBADF)]
)
def test_who_started_the_system_is_told_once_that_output_is_lost(
    machine: Machine, file: str, mode: int, told: int
) -> None:
    async def work(driver: Driver) -> None:
        target = os.open(file, mode)
        nothing, feed = os.pipe()
        lost: list[int] = []
        backend = DescriptorBackend(asyncio.get_running_loop(), driver.line, nothing, target, lost=lost.append)
        driver.kick = backend.kicked
        await driver.send(TEXT)
        await driver.send(TEXT)
        assert lost == [told]
        backend.close()
        for descriptor in (target, nothing, feed):
            os.close(descriptor)

    run(machine, work)


def test_the_escape_byte_is_heard_and_not_passed_on(machine: Machine) -> None:
    async def work(driver: Driver) -> None:
        source, feed = os.pipe()
        heard: list[bool] = []
        backend = DescriptorBackend(asyncio.get_running_loop(), driver.line, source, source, lambda: heard.append(True))
        driver.kick = backend.kicked
        os.write(feed, b"a\x1db")
        os.close(feed)
        await driver.ended.wait()
        backend.close()
        os.close(source)
        assert heard == [True]
        assert driver.received == b"ab"

    run(machine, work)


def test_a_pty_is_published_and_taken_away(machine: Machine, tmp_path: Path) -> None:
    before = open_descriptors()

    async def work(driver: Driver) -> None:
        link = tmp_path / "console"
        link.symlink_to("/nowhere")
        backend = PtyBackend(asyncio.get_running_loop(), driver.line, link)
        driver.kick = backend.kicked
        terminal = os.open(link, os.O_RDWR | os.O_NOCTTY)
        os.write(terminal, b"typed\x03")
        await driver.until(lambda: driver.received == b"typed\x03")
        await driver.send(b"printed\n")
        assert os.read(terminal, 100) == b"printed\n"
        os.close(terminal)
        backend.close()
        assert not link.is_symlink()

    run(machine, work)
    assert open_descriptors() == before


def test_raw_mode_is_left_again() -> None:
    ours, theirs = os.openpty()
    try:
        before = termios.tcgetattr(theirs)
        with RawTerminal(theirs):
            raw = termios.tcgetattr(theirs)
            assert not raw[3] & (termios.ICANON | termios.ECHO | termios.ISIG)
            assert raw[1] == before[1]
        assert termios.tcgetattr(theirs) == before
    finally:
        os.close(ours)
        os.close(theirs)


def test_what_is_no_terminal_is_left_alone() -> None:
    source, feed = os.pipe()
    with RawTerminal(source):
        os.write(feed, b"x")
    os.close(source)
    os.close(feed)
