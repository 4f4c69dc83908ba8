"""A framebuffer, as its driver has it: pictures that are stored to in place, and which of them is shown.

    screen = Framebuffer(self.task.environment.devices["screen"])
    with memoryview(screen.pixels) as pixels:      # or numpy.frombuffer(screen.pixels, "<u4")
        pixels[screen.place(0) : screen.place(0) + 4] = b"\\0\\0\\xff\\0"      # the first pixel of picture 0, red
    screen.present(0)

Registers and ports: docs/manual/framebuffer.md. Rule: the picture that is shown is stored to at one's own risk: who
looks sees it half done. Of several, one is drawn while another is shown.
"""

from __future__ import annotations

import struct
from typing import Final

from libsel4py.abi import Rights
from libsel4py.capabilities import IOPort, IRQHandler
from libsel4py.dataspace import DataSpace
from libsel4py.environment import Device
from libsel4py.lowlevel.batch import Batch
from libsel4py.mapping import Mapping
from libsel4py.task import Task, current_task

PRESENT, STATUS, CONTROL = 0, 1, 2  # ports
STATUS_DONE, STATUS_FAULT, STATUS_BUSY = 1, 2, 4
CONTROL_INTERRUPT: Final = 1
MAGIC, FORMAT = 0x62663473, 0x34325258
PIXEL_BYTES: Final = 4
PAGE_BYTES: Final = 4096
NEXT: Final = 0x40
_REGISTERS: Final = struct.Struct("<9I")


class Framebuffer:
    """The device, whose whole memory becomes this object's.

    Attributes:
        width, height: in pixels. stride: bytes from a line to the next. pictures: how many there are.
        memory: the pictures' data space, to be shared, or revoked. pixels: where this task sees it, to read and write.

    Raises:
        ValueError: the device is none. NotEnoughMemory: something was made of its memory already. Others as
            `DataSpace.attach`.
    """

    def __init__(self, device: Device, task: Task | None = None) -> None:
        task = task or current_task()
        self._port, self._first = IOPort(device.io_port), device.first_port
        self._interrupt = IRQHandler(device.irq_handler)
        self.memory = DataSpace.of_device(device, device.memory_bytes - PAGE_BYTES, task)
        registers = DataSpace.of_device(device, PAGE_BYTES, task)
        self._registers = registers.attach()
        found = self._read()
        self.width, self.height, self.stride, form, self.pictures, self._picture_bytes = found[1:7]
        fits = self.stride * self.height <= self._picture_bytes and self.width * PIXEL_BYTES <= self.stride
        if (found[0], form) != (MAGIC, FORMAT) or not fits or self.pictures * self._picture_bytes > self.memory.size:
            raise ValueError(f"this is no framebuffer, or its registers were written over: {found}")
        self.pixels: Mapping = self.memory.attach(Rights.READ | Rights.WRITE)
        self._port.out8(self._first + CONTROL, CONTROL_INTERRUPT)

    @property
    def shown(self) -> int:
        """The picture that is shown."""
        return self._read()[7]

    @property
    def presented(self) -> int:
        """How often one was shown, modulo 2**32, since the machine was started."""
        return self._read()[8]

    def place(self, picture: int, line: int = 0) -> int:
        """Where a line of a picture begins in `pixels`. Raises ValueError if there is none."""
        if not (0 <= picture < self.pictures and 0 <= line < self.height):
            raise ValueError(f"there is no line {line} of picture {picture}: {self.pictures} have {self.height} lines")
        return picture * self._picture_bytes + line * self.stride

    def present(self, picture: int) -> None:
        """Have a picture shown from the next refresh on; an interrupt says that it is. Raises ValueError as `place`."""
        self.place(picture)
        self._registers.write(NEXT, picture.to_bytes(4, "little"))
        self._port.out8(self._first + PRESENT, 0)

    def _read(self) -> tuple[int, ...]:
        """The device's registers, by one copy."""
        found: tuple[int, ...] = _REGISTERS.unpack(self._registers.read(0, _REGISTERS.size))
        return found

    def acknowledge(self) -> bool:
        """The interrupt was heard: it may come again. Returns whether all that was presented is shown."""
        with Batch() as batch:
            status = batch.queue(self._port.in8, self._first + STATUS)
            batch.queue(self._port.out8, self._first + STATUS, STATUS_DONE | STATUS_FAULT)
            batch.queue(self._interrupt.ack)
        return not status.result() & STATUS_BUSY
