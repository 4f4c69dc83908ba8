"""Entropy: random bits of the host, one word a read, or many at once by DMA.

    port +0   4 bytes  DATA          reading gives random bits, as many as are read; writing does nothing
    port +4   byte     STATUS        bit 0 DONE, bit 1 FAULT: write 1 to clear; bit 2 BUSY: it is at work. The line is
                                     high while CONTROL bit 1 and DONE or FAULT are set
    port +5   byte     CONTROL       bit 0 GO: fill LENGTH bytes at ADDRESS; reads 0. Bit 1: interrupt
    port +6   byte     FAULT_KIND    hw.iommu.FaultKind of the last fault
    port +8   4 bytes  ADDRESS_LOW   where to, in the device's IOSpace
    port +12  4 bytes  ADDRESS_HIGH
    port +16  4 bytes  LENGTH        bytes
    port +20  4 bytes  COUNT         bytes that are written
    port +24  4 bytes  FAULT_LOW     the address that was refused
    port +28  4 bytes  FAULT_HIGH

GO takes ADDRESS and LENGTH as they are then, clears DONE, FAULT and COUNT, and sets BUSY; while BUSY is set, it does
nothing. The transfer is made after the system call, CHUNK_BYTES at a time: each chunk is either written whole or, where
the IOSpace does not allow it, not at all, and then the transfer ends with FAULT. Registers are written in their own
width; other accesses read 0 and do nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final

from hw.devices.device import Device
from hw.interrupts import Trigger
from hw.iommu import DmaFault, DmaPort
from hw.ram import Ram, Record, Word

DATA, STATUS, CONTROL, FAULT_KIND = 0, 4, 5, 6
ADDRESS_LOW, ADDRESS_HIGH, LENGTH, COUNT, FAULT_LOW, FAULT_HIGH = 8, 12, 16, 20, 24, 28
DATA_PORTS: Final = 4
STATUS_DONE, STATUS_FAULT, STATUS_BUSY = 1, 2, 4
CONTROL_GO, CONTROL_INTERRUPT = 1, 2
CHUNK_BYTES: Final = 16 << 10
LOW_HALF: Final = (1 << 32) - 1


class EntropyRecord(Record):
    """The registers, and the transfer that is under way."""

    __slots__ = ()

    status = Word(0)
    control = Word(8)
    address = Word(16)
    length = Word(24)
    count = Word(32)
    fault_kind = Word(40)
    fault_address = Word(48)
    at = Word(56)  # where the transfer goes on
    left = Word(64)  # bytes of it


class Entropy(Device):
    """The device; `source(n)` gives n random bytes. `is_busy` and `transfer` are the host's side."""

    PORTS = 32

    def __init__(
        self,
        ram: Ram,
        address: int,
        number: int,
        first_port: int,
        irq: int,
        dma: DmaPort,
        source: Callable[[int], bytes] = os.urandom,
        trigger: Trigger = Trigger.LEVEL,
    ) -> None:
        super().__init__(ram, address, number, first_port, irq, trigger)
        self.state = EntropyRecord(ram, address)
        self._dma = dma
        self._source = source

    def reset(self) -> None:
        return None

    def read(self, offset: int, width: int) -> int:
        if offset < DATA_PORTS:
            return int.from_bytes(self._source(width), "little")
        state = self.state
        match offset, width:
            case (4, 1):  # STATUS
                return state.status
            case (5, 1):  # CONTROL
                return state.control
            case (6, 1):  # FAULT_KIND
                return state.fault_kind
            case (8, 4):  # ADDRESS_LOW
                return state.address & LOW_HALF
            case (12, 4):  # ADDRESS_HIGH
                return state.address >> 32
            case (16, 4):  # LENGTH
                return state.length
            case (20, 4):  # COUNT
                return state.count
            case (24, 4):  # FAULT_LOW
                return state.fault_address & LOW_HALF
            case (28, 4):  # FAULT_HIGH
                return state.fault_address >> 32
            case _:
                return 0

    def write(self, offset: int, width: int, value: int) -> None:
        state = self.state
        match offset, width:
            case (4, 1):  # STATUS
                state.status = state.status & ~(value & (STATUS_DONE | STATUS_FAULT))
            case (5, 1):  # CONTROL
                state.control = value & CONTROL_INTERRUPT
                if value & CONTROL_GO and not self.is_busy:
                    self._go()
            case (8, 4):  # ADDRESS_LOW
                state.address = state.address & ~LOW_HALF | value
            case (12, 4):  # ADDRESS_HIGH
                state.address = state.address & LOW_HALF | value << 32
            case (16, 4):  # LENGTH
                state.length = value

    def output(self) -> bool:
        state = self.state
        return bool(state.control & CONTROL_INTERRUPT and state.status & (STATUS_DONE | STATUS_FAULT))

    def _go(self) -> None:
        state = self.state
        state.status = STATUS_BUSY
        state.count = 0
        state.at = state.address
        state.left = state.length
        self.kick(self.number)

    @property
    def is_busy(self) -> bool:
        """Whether a transfer is under way."""
        return bool(self.state.status & STATUS_BUSY)

    def transfer(self) -> None:
        """Make the next chunk of the transfer, if there is one. Inside a transaction: made again, it does no harm."""
        state = self.state
        if not self.is_busy:
            return
        chunk = min(state.left, CHUNK_BYTES)
        try:
            self._dma.ensure(state.at, chunk, write=True)
            self._dma.write(state.at, self._source(chunk))
        except DmaFault as fault:
            state.fault_kind = int(fault.kind)
            state.fault_address = fault.address
            state.status = STATUS_FAULT
            return
        state.at = state.at + chunk
        state.left = state.left - chunk
        state.count = state.count + chunk
        if not state.left:
            state.status = STATUS_DONE
