"""The network server's clock on the machine's clock device: each tick comes, also behind one that is lost."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final

import pytest

from hw.clock import ManualClock
from hw.devices.clock import Clock
from hw.machine import DeviceDescription, DeviceKind, Machine, MachineDescription, RamLayout
from libsel4py.abi import Error, Label
from libsel4py.environment import Device
from libsel4py.testing import system
from libsel4py.testing.fake_objects import FakeCap, FakeObject, FakeObjects, Outcome, Request
from servers.network.alarm import REPEAT_US, Alarm

PORT: Final = 0x40
IRQ: Final = 8
RAM_BYTES: Final = 0x10000
LAYOUT: Final = RamLayout(0x1000, 0x2000, 0x4000, 0x1000, 4)
START_US: Final = 5_000_000
INEXACT_US: Final = 2
SECOND: Final = 1_000_000


class ClockObjects(FakeObjects):
    """Kernel objects, with port and interrupt capabilities that reach the board's clock."""

    def __init__(self, board: Board, former: FakeObjects) -> None:
        super().__init__()
        self.caps = former.caps
        self._board = board

    def invoke(self, cap: FakeCap | None, request: Request) -> Outcome:
        match request.label:
            case Label.IO_PORT_IN32:
                return Error.NO_ERROR, (self._board.access(request.words[0], 4, None),)
            case Label.IO_PORT_OUT8 | Label.IO_PORT_OUT32:
                width = 1 if request.label == Label.IO_PORT_OUT8 else 4
                self._board.access(request.words[0], width, request.words[1])
                return Error.NO_ERROR, ()
            case Label.IRQ_HANDLER_ACK:
                self._board.masked = False
                return Error.NO_ERROR, ()
        return super().invoke(cap, request)


class Board:
    """A machine with one clock, and an alarm on it. Time goes when it is told to, the task's as well."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.time = ManualClock(START_US)
        monkeypatch.setattr(time, "monotonic", lambda: self.time() / 1e6)
        self.masked = False
        self.accesses = 0
        self.machine = Machine(
            MachineDescription(RAM_BYTES, (DeviceDescription("clock", DeviceKind.CLOCK, PORT, IRQ),)),
            bytearray(RAM_BYTES),
            LAYOUT,
            self.time,
        )
        self.machine.power_on()
        device = self.machine.bus.devices[0]
        assert isinstance(device, Clock)
        self.clock = device

    def alarm(self) -> Alarm:
        with system() as made:
            made.kernel.objects = ClockObjects(self, made.kernel.objects)
            handler, ports = made.new(FakeObject("IRQHandler")), made.new(FakeObject("IOPort"))
            return Alarm(Device(irq_handler=handler, signal=1, io_port=ports, first_port=PORT, last_port=PORT + 7))

    def access(self, port: int, width: int, value: int | None) -> int:
        self.accesses += 1
        with self.machine.ram.transaction():
            if value is None:
                return self.machine.bus.read(port, width)
            self.machine.bus.write(port, width, value)
        return 0

    def interrupts(self) -> int:
        """How many the kernel delivers now: one at most, until it is acknowledged."""
        lines = list(self.machine.bus.pending_lines(lambda irq: not self.masked)) if self.machine.bus.lines.high else []
        self.masked = self.masked or bool(lines)
        return len(lines)

    def lose(self) -> None:
        self.machine.bus.lose_interrupts(IRQ, 1)

    def past(self, microseconds: int) -> int:
        """As `until`, and as much later as a moment is inexact."""
        return self.until(microseconds + INEXACT_US)

    def until(self, microseconds: int) -> int:
        """Let time go by to this moment behind the start; the interrupts that come meanwhile."""
        count = self.interrupts()
        while (due := self.clock.deadline()) is not None and self.time() + due <= START_US + microseconds:
            self.time.advance(due)
            self.machine.bus.change(self.clock, self.clock.fire)
            count += self.interrupts()
        self.time.advance(START_US + microseconds - self.time())
        return count


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch) -> Iterator[Board]:
    with system():
        yield Board(monkeypatch)


def at(microseconds: int) -> float:
    return (START_US + microseconds) / 1e6


def test_it_signals_at_its_moment_and_is_set_again(board: Board) -> None:
    alarm = board.alarm()
    for second in (1, 2, 3):
        alarm.set(at(second * SECOND))
        assert board.until(second * SECOND - 1) == 0
        assert board.past(second * SECOND) == 1
        alarm.rang()


def test_one_that_is_set_for_sooner_is_left_and_costs_nothing(board: Board) -> None:
    alarm = board.alarm()
    alarm.set(at(SECOND))
    before = board.accesses
    alarm.set(at(2 * SECOND))
    alarm.set(None)
    assert board.accesses == before
    alarm.set(at(SECOND // 2))
    assert board.past(SECOND // 2) == 1


def test_one_that_is_asked_for_a_little_earlier_is_left(board: Board) -> None:
    """However often: what it is set for is what it was set for last, and no more than a millisecond late."""
    alarm = board.alarm()
    alarm.set(at(SECOND))
    before = board.accesses
    for microseconds in (1, 500, 990, 2, 990):
        alarm.set(at(SECOND - microseconds))
    assert board.accesses == before
    alarm.set(at(SECOND - 1100))
    assert board.accesses > before
    assert board.until(SECOND - 1101) == 0
    assert board.past(SECOND - 1100) == 1


def test_a_tick_that_is_lost_comes_again_by_itself(board: Board) -> None:
    """Nobody asks for anything meanwhile."""
    alarm = board.alarm()
    alarm.set(at(SECOND))
    board.lose()
    assert board.until(SECOND + REPEAT_US - 1) == 0
    assert board.past(SECOND + REPEAT_US) == 1
    alarm.rang()
    alarm.set(at(2 * SECOND))
    assert board.until(2 * SECOND - 1) == 0, "the repetition was set anew as well"
    assert board.past(2 * SECOND) == 1


def test_one_whose_tick_was_lost_holds_up_no_other(board: Board) -> None:
    alarm = board.alarm()
    alarm.set(at(SECOND))
    board.lose()
    assert board.until(SECOND + 10) == 0
    alarm.set(at(SECOND + 5000))
    assert board.until(SECOND + 4999) == 0
    assert board.past(SECOND + 5000) == 1


def test_one_whose_tick_is_under_way_is_set_for_the_next(board: Board) -> None:
    """The server was in a turn when the clock interrupted, and sets it anew before it hears of that."""
    alarm = board.alarm()
    alarm.set(at(SECOND))
    assert board.past(SECOND + 10) == 1
    alarm.set(at(SECOND + 5000))
    alarm.rang()  # of the first, which was signalled
    alarm.set(at(SECOND + 5000))
    assert board.until(SECOND + 4999) == 0
    assert board.past(SECOND + 5000) == 1


def test_without_a_next_moment_it_is_silent(board: Board) -> None:
    alarm = board.alarm()
    alarm.set(at(SECOND))
    assert board.past(SECOND) == 1
    alarm.rang()
    alarm.set(None)
    assert board.clock.deadline() is None
    alarm.set(at(2 * SECOND))
    assert board.past(2 * SECOND) == 1


def test_a_moment_that_is_past_comes_at_once(board: Board) -> None:
    alarm = board.alarm()
    alarm.set(at(-SECOND))
    assert board.past(1000) == 1
