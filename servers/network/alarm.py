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
DELAY: Final = 7
FIRED: Final = 1
LEAST_US: Final = 1000  # from now: the host's timers are no finer
MOST_US: Final = (1 << 32) - 1


class Alarm:
    """A clock device of the task's."""

    def __init__(self, device: Device) -> None:
        self._ports = IOPort(device.io_port)
        self._first = device.first_port
        self._irq = IRQHandler(device.irq_handler)
        self._set: float | None = None
        self._ports.out8(self._first + INDEX, DELAY)  # it stays that: no other register is used
        self._acknowledge()

    def set(self, moment: float | None) -> None:
        """Signal at a moment (`time.monotonic`); None: there is none now."""
        if moment is None or (self._set is not None and self._set <= moment):
            return
        now = time.monotonic()
        delay = min(max(int((moment - now) * 1e6) + 1, LEAST_US), MOST_US)
        self._set = now + delay / 1e6
        self._ports.out32(self._first + DATA, delay)

    def rang(self) -> None:
        """It has signalled: it may do so again."""
        self._set = None
        self._acknowledge()

    def _acknowledge(self) -> None:
        with Batch() as batch:
            batch.queue(self._ports.out8, self._first + STATUS, FIRED)
            batch.queue(self._irq.ack)
