"""A task whose schedule is watched: it calls, computes, or waits for the clock, as its description says."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from libsel4py import Component, component, uses
from libsel4py.capabilities import IOPort, IRQHandler
from libsel4py.lowlevel.syscalls import yield_now
from tests.system.images.counted import Counted

PERIOD_US: Final = 2000
# hw/devices/clock.py
_STATUS, _DATA = 1, 4
_COMPARE_LOW, _COMPARE_HIGH, _PERIOD, _CONTROL = 2, 3, 4, 5


@component
class Main(Component):
    service = uses(Counted)

    def run(self) -> int:
        configuration = self.task.environment.configuration
        rounds = int(str(configuration["rounds"]))
        ways: dict[object, Callable[[int], None]] = {"clock": self._tick, "calls": self._call, "work": self._work}
        ways[configuration["by"]](rounds)
        return 0

    def _call(self, rounds: int) -> None:
        for number in range(1, rounds + 1):
            self.service.count(number)
            yield_now()

    def _work(self, milliseconds: int) -> None:
        """Compute for so long, without a system call."""
        end = time.process_time_ns() + milliseconds * 1_000_000
        while time.process_time_ns() < end:
            pass

    def _tick(self, rounds: int) -> None:
        device = self.task.environment.devices["clock"]
        ports, base = IOPort(device.io_port), device.first_port
        interrupt = IRQHandler(device.irq_handler)
        for register, value in ((_PERIOD, PERIOD_US), (_COMPARE_LOW, 0), (_COMPARE_HIGH, 0), (_CONTROL, 3)):
            ports.out8(base, register)
            ports.out32(base + _DATA, value)
        for number in range(1, rounds + 1):
            self.task.notification.wait()
            ports.out8(base + _STATUS, 1)
            interrupt.ack()
            self.service.count(number)
        ports.out8(base, _CONTROL)
        ports.out32(base + _DATA, 0)
