"""The clock: a 64-bit counter of microseconds since power on, and a compare value that interrupts, once or
periodically.

    port +0  byte   INDEX    selects the register that DATA shows
    port +1  byte   STATUS   bit 0: it has fired; write 1 to clear. The line is high while it is set and CONTROL bit 1
    is port +4  4 bytes DATA    the selected register

    0 COUNTER_LOW   reading it keeps the high half for COUNTER_HIGH, so that the two belong together
    1 COUNTER_HIGH  the half that was kept
    2 COMPARE_LOW   kept until COMPARE_HIGH is written
    3 COMPARE_HIGH  sets the compare value: fires when the counter reaches it, at once if it is past
    4 PERIOD        microseconds from one firing to the next; 0 fires once
    5 CONTROL       bit 0: compare; bit 1: interrupt. A one-shot clears bit 0 as it fires
    6 MISSED        periods that went by while STATUS was still set; reading clears it
    7 DELAY         writing it sets the compare value so many microseconds from now, and CONTROL 3; reads 0

Other ports and registers read 0, and writing them does nothing. A period is at least 100 microseconds, so that a
driver cannot keep the host busy with firing.
"""

from __future__ import annotations

from typing import Final

from hw.clock import Microseconds
from hw.devices.device import Device
from hw.interrupts import Trigger
from hw.ram import Ram, Record, Word

INDEX, STATUS, DATA = 0, 1, 4
COUNTER_LOW, COUNTER_HIGH, COMPARE_LOW, COMPARE_HIGH, PERIOD, CONTROL, MISSED, DELAY = range(8)
STATUS_FIRED: Final = 1
CONTROL_COMPARE, CONTROL_INTERRUPT = 1, 2
MIN_PERIOD_US: Final = 100
LOW_HALF: Final = (1 << 32) - 1


class ClockRecord(Record):
    """The registers, and the host's time at power on. Times in microseconds."""

    __slots__ = ()

    index = Word(0)
    status = Word(8)
    kept_counter = Word(16)
    kept_compare = Word(24)
    compare = Word(32)
    period = Word(40)
    control = Word(48)
    missed = Word(56)
    power_on = Word(64)


_WORD: Final = (1 << 64) - 1


class Clock(Device):
    """The device. `deadline` and `fire` are the host's side."""

    PORTS = 8

    def __init__(
        self,
        ram: Ram,
        address: int,
        number: int,
        first_port: int,
        irq: int,
        now: Microseconds,
        trigger: Trigger = Trigger.LEVEL,
    ) -> None:
        super().__init__(ram, address, number, first_port, irq, trigger)
        self.state = ClockRecord(ram, address)
        self._now = now

    def reset(self) -> None:
        self.state.power_on = self._now()

    def counter(self) -> int:
        """Microseconds since power on."""
        return self._now() - self.state.power_on & _WORD  # a resumed machine's may lie before the host's start

    def read(self, offset: int, width: int) -> int:
        if offset == DATA and width == 4:
            return self._read_data() & LOW_HALF
        if width == 1 and offset == STATUS:
            return self.state.status
        return self.state.index if width == 1 and offset == INDEX else 0

    def write(self, offset: int, width: int, value: int) -> None:
        if offset == DATA and width == 4:
            self._write_data(value)
        elif width == 1 and offset == STATUS:
            self.state.status = self.state.status & ~value
        elif width == 1 and offset == INDEX:
            self.state.index = value

    def output(self) -> bool:
        return bool(self.state.status & STATUS_FIRED and self.state.control & CONTROL_INTERRUPT)

    def _read_data(self) -> int:
        state = self.state
        match state.index:
            case 0:  # COUNTER_LOW
                counter = self.counter()
                state.kept_counter = counter
                return counter
            case 1:  # COUNTER_HIGH
                return state.kept_counter >> 32
            case 2:  # COMPARE_LOW
                return state.compare
            case 3:  # COMPARE_HIGH
                return state.compare >> 32
            case 4:  # PERIOD
                return state.period
            case 5:  # CONTROL
                return state.control
            case 6:  # MISSED
                missed = state.missed
                state.missed = 0
                return missed
            case _:
                return 0

    def _write_data(self, value: int) -> None:
        state = self.state
        match state.index:
            case 2:  # COMPARE_LOW
                state.kept_compare = value
            case 3:  # COMPARE_HIGH
                state.compare = value << 32 | state.kept_compare
                self.kick(self.number)
            case 4:  # PERIOD
                state.period = max(value, MIN_PERIOD_US) if value else 0
            case 5:  # CONTROL
                state.control = value & 3
                self.kick(self.number)
            case 7:  # DELAY
                state.compare = self.counter() + value & _WORD
                state.control = CONTROL_COMPARE | CONTROL_INTERRUPT
                self.kick(self.number)

    def deadline(self) -> int | None:
        """Microseconds from now until it fires (0 if it should have), None if it does not compare."""
        if not self.state.control & CONTROL_COMPARE:
            return None
        return max(0, self.state.compare - self.counter())

    def fire(self) -> None:
        """Fire if the compare value has been reached. Inside a transaction; harmless when called early or twice."""
        state = self.state
        counter = self.counter()
        if not state.control & CONTROL_COMPARE or counter < state.compare:
            return
        fired = 1
        if state.period:
            fired += (counter - state.compare) // state.period
            state.compare = state.compare + fired * state.period
        else:
            state.control = state.control & ~CONTROL_COMPARE
        missed = fired if state.status & STATUS_FIRED else fired - 1
        state.missed = min(state.missed + missed, LOW_HALF)
        state.status = state.status | STATUS_FIRED
