"""The server's clock: a device that signals at a moment, set through the ports of `hw.devices.clock`.

Rules: an alarm that comes too early costs a turn, one that comes too late costs a connection's time. So one that is set
is left where it is when a later moment is asked for, and moments are taken as they are otherwise.
"""

from __future__ import annotations

import time
from typing import Final

from libsel4py.capabilities import IOPort, IRQHandler
from libsel4py.environment import Device
from libsel4py.lowlevel.batch import Batch

INDEX, STATUS, DATA = 0, 1, 4
COUNTER_LOW, COUNTER_HIGH, COMPARE_LOW, COMPARE_HIGH, CONTROL = 0, 1, 2, 3, 5
FIRED: Final = 1
COMPARE_AND_INTERRUPT: Final = 3
LEAST_US: Final = 1000  # from now: the host's timers are no finer
_LOW: Final = (1 << 32) - 1


class Alarm:
    """A clock device of the task's."""

    def __init__(self, device: Device) -> None:
        self._ports = IOPort(device.io_port)
        self._first = device.first_port
        self._irq = IRQHandler(device.irq_handler)
        self._set: float | None = None
        counter = self._read(COUNTER_LOW) | self._read(COUNTER_HIGH) << 32
        self._offset_us = counter - time.monotonic_ns() // 1000
        self._acknowledge()

    def set(self, moment: float | None) -> None:
        """Signal at a moment (`time.monotonic`); None: there is none now."""
        if moment is None or (self._set is not None and self._set <= moment):
            return
        due = max(int(moment * 1e6), time.monotonic_ns() // 1000 + LEAST_US)
        self._set = due / 1e6
        compare = max(0, due + self._offset_us)
        ports, first = self._ports, self._first
        with Batch() as batch:
            for index, value in (
                (COMPARE_LOW, compare & _LOW),
                (COMPARE_HIGH, compare >> 32),
                (CONTROL, COMPARE_AND_INTERRUPT),
            ):
                batch.queue(ports.out8, first + INDEX, index)
                batch.queue(ports.out32, first + DATA, value)

    def rang(self) -> None:
        """It has signalled: it may do so again."""
        self._set = None
        self._acknowledge()

    def _acknowledge(self) -> None:
        with Batch() as batch:
            batch.queue(self._ports.out8, self._first + STATUS, FIRED)
            batch.queue(self._irq.ack)

    def _read(self, index: int) -> int:
        self._ports.out8(self._first + INDEX, index)
        return self._ports.in32(self._first + DATA)
