"""Interrupt lines: which are raised, and when one may interrupt again.

A line is what a device's output is joined to. A LEVEL line interrupts as long as its device raises it: acknowledged
while it is still high, it interrupts at once again. An EDGE line interrupts once each time it goes from low to high,
also if it is masked at that time (the edge is kept until the line may interrupt). Masking is the kernel's: it masks a
line when it interrupts, and unmasks it when the driver acknowledges it. Nothing here is state: a line's level and its
kept edge are the device's, in RAM.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from typing import Protocol


class Trigger(Enum):
    LEVEL = "level"
    EDGE = "edge"


class Source(Protocol):
    """What drives a line."""

    @property
    def irq(self) -> int: ...

    def raised(self) -> bool:
        """Whether the line wants to interrupt now."""
        ...


class InterruptLines:
    """The machine's lines.

    Attributes:
        high: lines that may want to interrupt, a bit each; 0 when there is nothing to do, which is what to look at
        first. A latch that C has cleared (kerneld/_fastpath/port.c) is still there until somebody looks.
    """

    def __init__(self, sources: Iterable[Source]) -> None:
        self.high = 0
        self._sources: dict[int, list[Source]] = {}
        for source in sources:
            self._sources.setdefault(source.irq, []).append(source)
            self.update(source.irq)

    def update(self, irq: int) -> None:
        """Look at a line again: a device on it has changed. A shared line is high if any device raises it."""
        bit = 1 << irq
        if any(source.raised() for source in self._sources[irq]):
            self.high |= bit
        else:
            self.high &= ~bit

    def forget(self, irq: int) -> None:
        """Take a line as low until its device changes next."""
        self.high &= ~(1 << irq)

    def deliverable(self, may_interrupt: Callable[[int], bool]) -> Iterator[int]:
        """The high lines that the kernel takes now, lowest first, each once."""
        high = self.high
        while high:
            irq = (high & -high).bit_length() - 1
            high &= high - 1
            if may_interrupt(irq):
                self.update(irq)
                if self.high >> irq & 1:
                    yield irq
