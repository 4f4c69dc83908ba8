"""What every device is: registers on I/O ports, an output on an interrupt line, and one page of RAM that holds all
its state.

Rules. A register access runs inside the kernel's open transaction and stores to the device's records only, so it is
undone with it, and a kernel that is started again finds the device as it was. What needs the host (a byte to send, a
timer to arm) is asked for by `kick`, which the kernel carries out after the commit. A device never reads the host's
clock or descriptors by itself: they are given to it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Final, NamedTuple

from hw.interrupts import Trigger
from hw.ram import Bits, Ram, Record

PAGE_BYTES: Final = 4096


class Doorbell(NamedTuple):
    """A port of 4 bytes. A write of less than ``queues`` kicks ``device`` (its number), and does nothing else, while
    the word of RAM at ``status`` is ``live`` under ``mask``; no other write to it does anything.
    """

    port: int
    queues: int
    device: int
    status: int
    mask: int
    live: int


class Latch(NamedTuple):
    """Two ports of 4 bytes for one word of RAM, and a line that is high while the word is not 0. A read of ``read``
    gives the word; a write to ``clear`` takes the bits that are written out of it. Neither does anything else.
    """

    read: int
    clear: int
    word: int
    irq: int


class LineRecord(Record):
    """The last words of a device's page: its output as last seen, and the edge that is kept. For EDGE lines."""

    __slots__ = ()

    was_high = Bits(4088, 0, 1)
    edge = Bits(4088, 1, 1)


class Device(ABC):
    """A device on I/O ports `first_port..first_port + PORTS - 1`, joined to line `irq`.

    Attributes:
        number: which of the machine's device pages is its own. kick: asks for the host, by that number.
    """

    PORTS: int

    def __init__(
        self, ram: Ram, address: int, number: int, first_port: int, irq: int, trigger: Trigger = Trigger.LEVEL
    ) -> None:
        self.ram = ram
        self.address = address
        self.number = number
        self.first_port = first_port
        self.irq = irq
        self.trigger = trigger
        self.kick: Callable[[int], None] = lambda number: None
        self._line = LineRecord(ram, address)

    @abstractmethod
    def reset(self) -> None:
        """Set the registers as at power on. The page is zero, and a transaction is open."""

    @abstractmethod
    def read(self, offset: int, width: int) -> int:
        """A register's value; `width` in bytes. May have side effects, as reading has in hardware."""

    @abstractmethod
    def write(self, offset: int, width: int, value: int) -> None:
        """Store to a register; `value` fits `width` bytes."""

    @abstractmethod
    def output(self) -> bool:
        """Whether the device asks for an interrupt."""

    def doorbell(self) -> Doorbell | None:
        """The port by which its driver has it look at memory, if it has one that needs no more than that."""
        return None

    def latch(self) -> Latch | None:
        """The registers by which its driver takes its interrupt, if its output is just that."""
        return None

    def report(self) -> dict[str, object]:
        """What people want to know of its state, as plain values."""
        return {}

    def sample(self) -> None:
        """Keep the edge if the output went up. Inside the transaction that may have changed it."""
        if self.trigger is Trigger.LEVEL:
            return
        high = self.output()
        if high and not self._line.was_high:
            self._line.edge = 1
        self._line.was_high = int(high)

    def raised(self) -> bool:
        """Whether the line wants to interrupt now."""
        return self.output() if self.trigger is Trigger.LEVEL else bool(self._line.edge)

    def taken(self) -> None:
        """The line has interrupted: an edge is kept no longer. Inside a transaction."""
        self._line.edge = 0
