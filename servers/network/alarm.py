"""The server's clock: a device that signals at a moment, set through the ports of `hw.devices.clock`.

Rules: an alarm that comes too early costs a turn, one that comes too late costs a connection's time. So one that is set
is left where it is when a later moment is asked for, or one that is no more than `FINEST` earlier: the stack's waits
are whole milliseconds, so that the same moment is asked for a little earlier in every turn. Others are taken as they
are.

An interrupt may be lost. The device repeats one that nobody has answered, `REPEAT_US` later, and again; and an alarm
whose moment is past holds up no other.
"""

from __future__ import annotations

import time
from typing import Final

from libsel4py.capabilities import IOPort, IRQHandler
from libsel4py.environment import Device
from libsel4py.lowlevel.batch import Batch

INDEX, STATUS, DATA = 0, 1, 4
PERIOD, CONTROL, DELAY = 4, 5, 7
FIRED: Final = 1
LEAST_US: Final = 1000  # from now: the host's timers are no finer
FINEST: Final = LEAST_US / 1e6  # seconds
MOST_US: Final = (1 << 32) - 1
REPEAT_US: Final = 200_000  # until an interrupt that was not answered comes again: as long as drivers wait for a look


class Alarm:
    """A clock device of the task's."""

    def __init__(self, device: Device) -> None:
        self._ports = IOPort(device.io_port)
        self._first = device.first_port
        self._irq = IRQHandler(device.irq_handler)
        self._set: float | None = None
        self._runs = False
        self._write(PERIOD, REPEAT_US)
        self._acknowledge()

    def set(self, moment: float | None) -> None:
        """Signal at a moment (`time.monotonic`), and repeat that until `rang`; None: there is none now."""
        now = time.monotonic()
        if self._set is not None:
            if now < self._set:
                if moment is None or self._set <= moment + FINEST:
                    return
            else:  # its interrupt is under way, or was lost
                self.rang()
        if moment is not None:
            delay = min(max(int((moment - now) * 1e6) + 1, LEAST_US), MOST_US)
            self._set = now + delay / 1e6
            self._runs = True
            self._ports.out32(self._first + DATA, delay)
        elif self._runs:
            self._runs = False
            self._write(CONTROL, 0)

    def rang(self) -> None:
        """It has signalled: it may do so again."""
        self._set = None
        self._acknowledge()

    def _acknowledge(self) -> None:
        with Batch() as batch:
            batch.queue(self._ports.out8, self._first + STATUS, FIRED)
            batch.queue(self._irq.ack)

    def _write(self, index: int, value: int) -> None:
        """Write a register; what DATA shows behind that is DELAY, as always."""
        ports, first = self._ports, self._first
        with Batch() as batch:
            batch.queue(ports.out8, first + INDEX, index)
            batch.queue(ports.out32, first + DATA, value)
            batch.queue(ports.out8, first + INDEX, DELAY)
