"""The framebuffer: pictures in memory of the device's own, which its driver stores to as to any other memory.

Its memory is a power of two of bytes at physical addresses behind RAM: pictures from its first byte on, each of whole
pages, and in its last page registers of 4 bytes. A pixel is 4 bytes, 0x00RRGGBB in little endian; lines follow each
other from the top, pixels from the left.

    0x00 MAGIC          0x62663473
    0x04 WIDTH          pixels of a line
    0x08 HEIGHT         lines
    0x0C STRIDE         bytes from one line to the next
    0x10 FORMAT         0x34325258 (XR24)
    0x14 PICTURES       how many there are
    0x18 PICTURE_BYTES  from the beginning of one picture to that of the next
    0x1C SHOWN          the picture that is shown
    0x20 PRESENTED      how often one was, modulo 2**32
    0x40 NEXT           the picture that PRESENT is to show: the driver's

    port +0  byte  PRESENT  writing anything takes NEXT as it is then; reads 0
    port +1  byte  STATUS   bit 0 DONE, bit 1 FAULT (NEXT was no picture): write 1 to clear; bit 2 BUSY. The line is
                            high while CONTROL bit 0 and DONE or FAULT are set
    port +2  byte  CONTROL  bit 0: interrupt
    port +3  byte           reads 0

The picture changes at the next refresh, 60 a second: until then BUSY is set, and a further PRESENT takes another NEXT.

Rules. The device believes nothing in its memory, all of which its driver can write. It reads NEXT there, once for each
PRESENT, and pixels, which can be anything. What it is it keeps in its own page of RAM, and writes the registers below
0x40 anew at power on and whenever it has shown a picture.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from hw.devices.device import PAGE_BYTES, Device
from hw.interrupts import Trigger
from hw.ram import Ram, Record, Word

PRESENT, STATUS, CONTROL = 0, 1, 2
STATUS_DONE, STATUS_FAULT, STATUS_BUSY = 1, 2, 4
CONTROL_INTERRUPT: Final = 1
MAGIC: Final = 0x62663473
FORMAT: Final = 0x34325258  # DRM_FORMAT_XRGB8888
PIXEL_BYTES: Final = 4
REGISTERS: Final = struct.Struct("<9I")
NEXT: Final = 0x40
MOST_BYTES: Final = 16 << 20  # of all pictures: what a frame held is copied when it is destroyed
_WORD: Final = struct.Struct("<I")
_LOW_WORD: Final = (1 << 32) - 1


@dataclass(frozen=True, slots=True)
class DisplayMode:
    """Pixels of a line, lines of a picture, and how many pictures the memory holds."""

    width: int
    height: int
    pictures: int

    @property
    def stride(self) -> int:
        return self.width * PIXEL_BYTES

    @property
    def picture_bytes(self) -> int:
        """Whole pages."""
        return -(-self.stride * self.height // PAGE_BYTES) * PAGE_BYTES

    @property
    def memory_bits(self) -> int:
        """log2 of the bytes of all pictures and the registers."""
        return (self.pictures * self.picture_bytes + PAGE_BYTES - 1).bit_length()

    def plain(self) -> list[int]:
        """As JSON can hold it."""
        return [self.width, self.height, self.pictures]

    @classmethod
    def from_plain(cls, plain: object) -> DisplayMode | None:
        """What `plain` gave, or None for None. Raises ValueError."""
        if not isinstance(plain, list):
            return None
        width, height, pictures = map(int, plain)
        return cls(width, height, pictures)


class FramebufferRecord(Record):
    """What the device is at, and what it shows."""

    __slots__ = ()

    status = Word(0)
    control = Word(8)
    next = Word(16)  # what a PRESENT has taken, while BUSY is set
    shown = Word(24)
    presented = Word(32)


class Framebuffer(Device):
    """The device; its memory begins at ``memory``. `is_busy` and `show` are the host's side."""

    PORTS = 4

    def __init__(
        self,
        ram: Ram,
        address: int,
        number: int,
        first_port: int,
        irq: int,
        memory: int,
        mode: DisplayMode,
        trigger: Trigger = Trigger.LEVEL,
    ) -> None:
        super().__init__(ram, address, number, first_port, irq, trigger)
        self.state = FramebufferRecord(ram, address)
        self.memory = memory
        self.mode = mode
        self._registers = memory + (1 << mode.memory_bits) - PAGE_BYTES

    def reset(self) -> None:
        self._write_registers()

    def read(self, offset: int, width: int) -> int:
        match offset, width:
            case (1, 1):  # STATUS
                return self.state.status
            case (2, 1):  # CONTROL
                return self.state.control
            case _:
                return 0

    def write(self, offset: int, width: int, value: int) -> None:
        state = self.state
        match offset, width:
            case (0, 1):  # PRESENT
                self._present()
            case (1, 1):  # STATUS
                state.status = state.status & ~(value & (STATUS_DONE | STATUS_FAULT))
            case (2, 1):  # CONTROL
                state.control = value & CONTROL_INTERRUPT

    def output(self) -> bool:
        state = self.state
        return bool(state.control & CONTROL_INTERRUPT and state.status & (STATUS_DONE | STATUS_FAULT))

    def report(self) -> dict[str, object]:
        mode, state = self.mode, self.state
        return {"mode": f"{mode.width}x{mode.height}", "shown": state.shown, "presented": state.presented}

    def _present(self) -> None:
        (number,) = _WORD.unpack(self.ram.read(self._registers + NEXT, _WORD.size))
        state = self.state
        if number >= self.mode.pictures:
            state.status = state.status | STATUS_FAULT
            return
        state.next = number
        state.status = state.status | STATUS_BUSY
        self.kick(self.number)

    @property
    def is_busy(self) -> bool:
        """Whether a picture is to be shown at the next refresh."""
        return bool(self.state.status & STATUS_BUSY)

    def show(self) -> None:
        """Show what was taken, if something was. Inside a transaction; harmless when called twice."""
        state = self.state
        if not self.is_busy:
            return
        state.shown = state.next
        state.presented = state.presented + 1 & _LOW_WORD
        state.status = state.status & ~STATUS_BUSY | STATUS_DONE
        self._write_registers()  # not undone with the transaction, and then written again

    def picture(self) -> bytes:
        """A copy of the picture that is shown: its lines, without anything between them."""
        at = self.memory + self.state.shown * self.mode.picture_bytes
        return self.ram.read(at, self.mode.stride * self.mode.height)

    def _write_registers(self) -> None:
        mode, state = self.mode, self.state
        own = (mode.width, mode.height, mode.stride, FORMAT, mode.pictures, mode.picture_bytes)
        self.ram.poke(self._registers, REGISTERS.pack(MAGIC, *own, state.shown, state.presented))
