"""Entropy: reading its four ports as one 32-bit word gives random bits of the host. It has no state, and never
interrupts.

Narrower reads give fewer bits. Writing does nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from hw.devices.device import Device
from hw.interrupts import Trigger
from hw.ram import Ram


class Entropy(Device):
    """The device; `source(n)` gives n random bytes."""

    PORTS = 4

    def __init__(
        self,
        ram: Ram,
        address: int,
        number: int,
        first_port: int,
        irq: int,
        source: Callable[[int], bytes] = os.urandom,
        trigger: Trigger = Trigger.LEVEL,
    ) -> None:
        super().__init__(ram, address, number, first_port, irq, trigger)
        self._source = source

    def reset(self) -> None:
        return None

    def read(self, offset: int, width: int) -> int:
        return int.from_bytes(self._source(width), "little")

    def write(self, offset: int, width: int, value: int) -> None:
        return None

    def output(self) -> bool:
        return False
