"""A small virtio driver for tests: a machine with one virtio device, and queues in a frame of its RAM.

The device's IOSpace has `FRAME_BYTES` at `AT`; everything lies there. `Guest` writes the rings as a driver would, and a
hostile test writes what it likes.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from hw.devices.bus import IoBus
from hw.devices.device import Device
from hw.devices.virtio import VirtioDevice
from hw.devices.virtio_registers import CONFIG, REQUIRED, Register, Status
from hw.iommu import DmaPort, Iommu, Segment, Span
from hw.ram import Ram

LOG, LOG_BYTES = 0x1000, 0x4000
RECORD = 0x6000
FRAME, FRAME_BYTES = 0x10000, 0x40000
RAM_BYTES = FRAME + FRAME_BYTES
AT = 0x1_0000_0000
PORT, IRQ = 0x1000, 5
NUMBER = 0

Make = Callable[[Ram, DmaPort], VirtioDevice]


class Guest:
    """A machine with one device, as its driver sees it. Offsets are into the frame.

    ``keeps``: the device's port may keep what it was told of mappings, as in a system.
    """

    def __init__(self, make: Make, keeps: bool = False) -> None:
        self.ram = Ram(bytearray(RAM_BYTES), LOG, LOG_BYTES)
        self.iommu = Iommu(self.ram)
        self.iommu.use_translation(self._translate, keep=keeps)
        self.device = make(self.ram, self.iommu.port(NUMBER))
        self.bus = IoBus(self.ram, [self.device])
        self.kicks = 0
        self.bus.set_kick(lambda number: self._kicked())
        self.mapped = FRAME_BYTES
        self.available = 0
        self.size = 0

    def _kicked(self) -> None:
        self.kicks += 1

    def _translate(self, device: int, address: int) -> Span | None:
        into = address - AT
        return Span(FRAME + into, self.mapped - into, True, True, into) if 0 <= into < self.mapped else None

    def scatter_pages(self) -> Segment:
        """Where the device sees a MiB, each page of which is a mapping of its own. The last one is none."""
        pages = Segment(2 * AT, 1 << 20)
        translate = self.iommu.translate

        def page(device: int, address: int) -> Span | None:
            into = address - pages.address
            if not 0 <= into < pages.size - 4096:
                return translate(device, address)
            return Span(FRAME + 0x30000 + into % 4096, 4096 - into % 4096, True, True)

        self.iommu.use_translation(page)
        return pages

    def lookups(self) -> list[int]:
        """Of the device's work from now on, how many mappings each turn looks up."""
        found: list[int] = []
        translate, change = self.iommu.translate, self.bus.change

        def count(device: int, address: int) -> Span | None:
            found[-1] += 1
            return translate(device, address)

        def begin(device: Device, work: Callable[[], None]) -> None:
            found.append(0)
            change(device, work)

        self.iommu.use_translation(count)
        self.bus.change = begin  # type: ignore[method-assign]
        found.append(0)
        return found

    # --- registers -----------------------------------------------------------------------------------------

    def get(self, register: int, width: int = 4) -> int:
        with self.ram.transaction():
            return self.bus.read(PORT + register, width)

    def set(self, register: int, value: int, width: int = 4) -> None:
        with self.ram.transaction():
            self.bus.write(PORT + register, width, value)

    def configuration(self, offset: int, width: int) -> int:
        return self.get(CONFIG + offset, width)

    def accept(self, features: int) -> None:
        for half in (0, 1):
            self.set(Register.DRIVER_FEATURES_SEL, half)
            self.set(Register.DRIVER_FEATURES, features >> 32 * half & 0xFFFF_FFFF)

    def begin(self, features: int = 0, size: int = 8, queues: int = 1) -> None:
        """Initialise the device as a driver does; queue N's rings are at offset N * 0x4000."""
        self.size = size
        self.available = 0
        self.set(Register.STATUS, Status.ACKNOWLEDGE | Status.DRIVER)
        self.accept(features | REQUIRED)
        self.set(Register.STATUS, self.get(Register.STATUS) | Status.FEATURES_OK)
        assert self.get(Register.STATUS) & Status.FEATURES_OK
        for queue in range(queues):
            self.ram.poke(FRAME + queue * 0x4000, bytes(0x4000))
            self.set_up(queue, size, *(AT + queue * 0x4000 + part for part in (0, 0x1000, 0x2000)))
        self.set(Register.STATUS, self.get(Register.STATUS) | Status.DRIVER_OK)

    def set_up(self, queue: int, size: int, descriptors: int, driver: int, device: int, ready: int = 1) -> None:
        self.set(Register.QUEUE_SEL, queue)
        self.set(Register.QUEUE_SIZE, size)
        for low, address in (
            (Register.QUEUE_DESC_LOW, descriptors),
            (Register.QUEUE_DRIVER_LOW, driver),
            (Register.QUEUE_DEVICE_LOW, device),
        ):
            self.set(low, address & 0xFFFF_FFFF)
            self.set(low + 4, address >> 32)
        self.set(Register.QUEUE_READY, ready)

    # --- memory --------------------------------------------------------------------------------------------

    def write(self, offset: int, data: bytes) -> None:
        self.ram.poke(FRAME + offset, data)

    def read(self, offset: int, size: int) -> bytes:
        return self.ram.read(FRAME + offset, size)

    def descriptor(
        self, number: int, address: int, length: int, flags: int = 0, following: int = 0, queue: int = 0
    ) -> None:
        self.write(queue * 0x4000 + 16 * number, struct.pack("<QIHH", address, length, flags, following))

    def offer(self, head: int, queue: int = 0) -> None:
        """Put a head in the available ring, and publish it."""
        base = queue * 0x4000 + 0x1000
        self.write(base + 4 + 2 * (self.available % self.size), struct.pack("<H", head))
        self.available = self.available + 1 & 0xFFFF
        self.write(base + 2, struct.pack("<H", self.available))

    def used(self, queue: int = 0) -> list[tuple[int, int]]:
        """What the device has given back since the queue was set up, (head, written) each."""
        base = queue * 0x4000 + 0x2000
        (count,) = struct.unpack("<H", self.read(base + 2, 2))
        return [
            struct.unpack("<II", self.read(base + 4 + 8 * (at % self.size), 8))
            for at in range(max(0, count - self.size), count)
        ]
