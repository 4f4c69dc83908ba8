"""A virtio device's registers, as its driver uses them: what it is, what it can do, its queues, its interrupt.

Source: VIRTIO 1.2, sections 3.1 (initialisation), 4.2.2 (registers of virtio over MMIO, here at I/O ports; see
`docs/manual/virtio.md`).
"""

from __future__ import annotations

from typing import Final

from libsel4py.capabilities import IOPort, IRQHandler
from libsel4py.errors import ServiceError
from libsel4py.lowlevel.batch import Batch, Pending

NETWORK, BLOCK = 1, 2  # device ids
MAGIC: Final = int.from_bytes(b"virt", "little")
ACKNOWLEDGE, DRIVER, DRIVER_OK, FEATURES_OK, NEEDS_RESET, FAILED = 1, 2, 4, 8, 64, 128
INDIRECT_DESC: Final = 1 << 28
VERSION_1: Final = 1 << 32
ACCESS_PLATFORM: Final = 1 << 33
REQUIRED: Final = VERSION_1 | ACCESS_PLATFORM
USED, CONFIGURATION_CHANGED = 1, 2  # what an interrupt was for
CONFIG: Final = 0x100
_LOW: Final = (1 << 32) - 1
_VERSION, _ID, _FEATURES, _FEATURES_SEL, _ACCEPTED, _ACCEPTED_SEL = 0x004, 0x008, 0x010, 0x014, 0x020, 0x024
_QUEUE, _QUEUE_MAX, _QUEUE_SIZE, _QUEUE_READY, _NOTIFY = 0x030, 0x034, 0x038, 0x044, 0x050
_INTERRUPTS, _ACK, _STATUS = 0x060, 0x064, 0x070
_DESCRIPTORS, _AVAILABLE, _USED = 0x080, 0x090, 0x0A0


class DeviceRefused(ServiceError):
    """It is no such device, or does not do what its driver needs."""


class VirtioPorts:
    """The registers at ``first`` and the ports behind it."""

    def __init__(self, ports: IOPort, first: int) -> None:
        self._ports = ports
        self._first = first

    def begin(self, device: int, wanted: int, needed: int = 0) -> int:
        """Reset the device and agree on features: those of ``wanted`` that it offers; returns which these are.

        Args:
            device: what it must be, `BLOCK` say. needed: features without which the driver cannot work.
        Raises:
            DeviceRefused.
        """
        with Batch() as batch:
            magic, version, found = (self._queue_read(batch, register) for register in (0, _VERSION, _ID))
        if magic.result() != MAGIC or version.result() != 2:
            raise DeviceRefused(f"there is no virtio device at port {self._first:#x} (it says {magic.result():#x})")
        if found.result() != device:
            raise DeviceRefused(f"the device at port {self._first:#x} has the id {found.result()}, and not {device}")
        self.reset()
        offered = self._offered()
        if missing := (needed | REQUIRED) & ~offered:
            raise DeviceRefused(f"the device lacks the features {missing:#x}")
        features = (wanted | needed | REQUIRED) & offered
        with Batch() as batch:
            for half in (0, 1):
                self._queue_write(batch, _ACCEPTED_SEL, half)
                self._queue_write(batch, _ACCEPTED, features >> 32 * half & _LOW)
            self._queue_write(batch, _STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK)
            status = self._queue_read(batch, _STATUS)
        if not status.result() & FEATURES_OK:
            raise DeviceRefused(f"the device does not agree to the features {features:#x}, which it has offered")
        return features

    def set_up_queue(self, index: int, size: int, descriptors: int, available: int, used: int) -> None:
        """Tell the device where a queue is, in its IOSpace. Raises DeviceRefused: it has no such queue, or no room."""
        with Batch() as batch:
            self._queue_write(batch, _QUEUE, index)
            most = self._queue_read(batch, _QUEUE_MAX)
        if size > most.result():
            raise DeviceRefused(f"queue {index} has room for {most.result()} entries, and not {size}")
        with Batch() as batch:
            self._queue_write(batch, _QUEUE_SIZE, size)
            for register, address in ((_DESCRIPTORS, descriptors), (_AVAILABLE, available), (_USED, used)):
                self._queue_write(batch, register, address & _LOW)
                self._queue_write(batch, register + 4, address >> 32)
            self._queue_write(batch, _QUEUE_READY, 1)
            ready = self._queue_read(batch, _QUEUE_READY)
        if not ready.result():
            raise DeviceRefused(f"the device does not take queue {index}")

    def go(self) -> None:
        """The driver is ready: the device may work."""
        self.write(_STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK)

    def reset(self) -> None:
        """Stop the device. It has forgotten its queues when this returns, and touches no memory any more."""
        self.write(_STATUS, 0)

    @property
    def needs_reset(self) -> bool:
        """Whether the device has given up."""
        return bool(self.read(_STATUS) & NEEDS_RESET)

    def notify(self, queue: int) -> None:
        """There is something new in a queue."""
        self.write(_NOTIFY, queue)

    def acknowledge(self) -> int:
        """What the device has interrupted for (`USED`, `CONFIGURATION_CHANGED`); it may interrupt again."""
        found = self.read(_INTERRUPTS)
        if found:
            self.write(_ACK, found)
        return found

    def acknowledge_used(self, irq: IRQHandler) -> int:
        """As `acknowledge`, and let the interrupt come again: one trap where it was for used buffers alone.

        Before it the driver says that its queues want no interrupts; else one comes for what it is about to see.
        """
        with Batch() as batch:
            read = batch.queue(self._ports.in32, self._first + _INTERRUPTS)
            batch.queue(self._ports.out32, self._first + _ACK, USED)
            batch.queue(irq.ack)
        found = read.result()
        if found & ~USED:
            self.write(_ACK, found & ~USED)
        return found

    def configuration(self, offset: int, size: int) -> bytes:
        """Bytes of the device's own configuration."""
        with Batch() as batch:
            read = [batch.queue(self._ports.in8, self._first + CONFIG + offset + at) for at in range(size)]
        return bytes(each.result() for each in read)

    def read(self, register: int) -> int:
        return self._ports.in32(self._first + register)

    def write(self, register: int, value: int) -> None:
        self._ports.out32(self._first + register, value)

    def _offered(self) -> int:
        """What the device can do, which is told that there is a driver."""
        with Batch() as batch:
            self._queue_write(batch, _STATUS, ACKNOWLEDGE | DRIVER)
            halves = []
            for half in (0, 1):
                self._queue_write(batch, _FEATURES_SEL, half)
                halves.append(self._queue_read(batch, _FEATURES))
        low, high = (each.result() for each in halves)
        return low | high << 32

    def _queue_read(self, batch: Batch, register: int) -> Pending[int]:
        return batch.queue(self._ports.in32, self._first + register)

    def _queue_write(self, batch: Batch, register: int, value: int) -> None:
        batch.queue(self._ports.out32, self._first + register, value)
