"""The I/O port space: finds the device behind a port. Implements what the kernel's IOPort capabilities read and write.

Registers that lie in device memory as well are reached there by the same numbers: byte N of their page is what is at
port ``first_port + N``. Behind a device's last register its page reads as zeroes, and takes nothing.

Runs inside the kernel's open transaction. Where no device answers, a read gives all ones and a write goes nowhere, as
on an empty ISA bus. An access wider than a device's registers is made byte by byte at consecutive ports, as there too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Final

from hw.devices.device import PAGE_BYTES, Device, Latch
from hw.interrupts import InterruptLines, Trigger
from hw.ram import Ram

WIDTHS: Final = (1, 2, 4)


class IoBus:
    """The machine's devices by port.

    Attributes:
        devices: by device number. doorbells: of those that have one. latches: of those that have one, and a level on a
        line of their own. lines: their interrupt lines. turn_of: entered while a device, by number, does its work on
        the host's side, by whoever wants to know how long that takes.
    """

    def __init__(self, ram: Ram, devices: Iterable[Device], pages: Mapping[int, int] | None = None) -> None:
        """``pages``: by the physical address of a page of registers, whose they are (its device number)."""
        self.ram = ram
        self.devices = {device.number: device for device in devices}
        self._ports: dict[int, Device] = {}
        for device in self.devices.values():
            for port in range(device.first_port, device.first_port + device.PORTS):
                if port in self._ports:
                    raise ValueError(f"two devices have port {port:#x}; give one of them another first port")
                self._ports[port] = device
        self._pages = {address: self.devices[number] for address, number in (pages or {}).items()}
        self.doorbells = [bell for device in self.devices.values() if (bell := device.doorbell()) is not None]
        self.latches = list(self._latches())
        self.lines = InterruptLines(self.devices.values())
        self._edges = {device.irq for device in self.devices.values() if device.trigger is Trigger.EDGE}
        self.turn_of: Callable[[int], AbstractContextManager[None]] = lambda number: nullcontext()
        self._losing: dict[int, int] = {}  # how many of a line's next interrupts are lost

    def _latches(self) -> Iterator[Latch]:
        for device in self.devices.values():
            shared = sum(other.irq == device.irq for other in self.devices.values()) > 1
            latch = device.latch()
            if latch is not None and device.trigger is Trigger.LEVEL and not shared:
                yield latch

    def set_kick(self, kick: Callable[[int], None]) -> None:
        """Who is told, inside the transaction, that the device of this number needs the host."""
        for device in self.devices.values():
            device.kick = kick

    def read(self, port: int, width: int) -> int:
        """The value at a port. `width` in bytes: 1, 2 or 4."""
        device = self._ports.get(port)
        if device is None:
            return (1 << 8 * width) - 1
        value = device.read(port - device.first_port, width)
        self._changed(device)
        return value

    def write(self, port: int, width: int, value: int) -> None:
        """Store a value of `width` bytes to a port."""
        device = self._ports.get(port)
        if device is None:
            return
        device.write(port - device.first_port, width, value & (1 << 8 * width) - 1)
        self._changed(device)

    def has_registers(self, address: int) -> bool:
        """Whether at this physical address a page of registers begins."""
        return address in self._pages

    def load(self, address: int, width: int) -> int:
        """The register at a physical address inside of such a page; it is aligned to ``width``: 1, 2 or 4 bytes."""
        port = self._port(address, width)
        return 0 if port is None else self.read(port, width)

    def store(self, address: int, width: int, value: int) -> None:
        """Store to a register, as `load` reads it."""
        port = self._port(address, width)
        if port is not None:
            self.write(port, width, value)

    def _port(self, address: int, width: int) -> int | None:
        """The port of the same register; None behind the device's last one."""
        device, offset = self._pages[address & -PAGE_BYTES], address & PAGE_BYTES - 1
        return device.first_port + offset if offset + width <= device.PORTS else None

    def change(self, device: Device, change: Callable[[], None]) -> None:
        """Change a device's state from the host's side, in a transaction of its own."""
        with self.turn_of(device.number), self.ram.transaction():
            change()
            device.sample()
        self.lines.update(device.irq)

    def _changed(self, device: Device) -> None:
        device.sample()
        self.lines.update(device.irq)

    def pending_lines(self, may_interrupt: Callable[[int], bool]) -> Iterator[int]:
        """Lines that interrupt now. Cheap when there is none: look at `lines.high` before."""
        lines = self.lines.deliverable(may_interrupt)
        return self._not_lost(lines) if self._losing else lines

    def lose_interrupts(self, irq: int, count: int) -> None:
        """Fault injection: so many of the line's next interrupts never come. A level that stays high is seen again when
        its device changes next."""
        self._losing[irq] = self._losing.get(irq, 0) + count

    def losing(self, irq: int) -> int:
        """How many of the line's next interrupts will not come."""
        return self._losing.get(irq, 0)

    def _not_lost(self, lines: Iterator[int]) -> Iterator[int]:
        for irq in lines:
            left = self._losing.pop(irq, 0)
            if not left:
                yield irq
                continue
            if left > 1:
                self._losing[irq] = left - 1
            self.taken(irq)
            self.lines.forget(irq)

    def taken(self, irq: int) -> None:
        """The kernel has taken an interrupt of this line."""
        if irq in self._edges:
            with self.ram.transaction():
                for device in self.devices.values():
                    if device.irq == irq:
                        device.taken()
        self.lines.update(irq)


def split_read(read: Callable[[int], int], offset: int, width: int, ports: int) -> int:
    """A read of `width` bytes from byte-wide registers. Ports past the device's read as ones."""
    value = 0
    for at in range(width):
        byte = read(offset + at) if offset + at < ports else 0xFF
        value |= byte << 8 * at
    return value


def split_write(write: Callable[[int, int], None], offset: int, width: int, value: int, ports: int) -> None:
    """A write of `width` bytes to byte-wide registers."""
    for at in range(width):
        if offset + at < ports:
            write(offset + at, value >> 8 * at & 0xFF)
