"""A 16550A UART with the 64-byte FIFOs of the TI TL16C750: byte-wide registers on 8 ports, one interrupt line.

Sources: National Semiconductor PC16550D and Texas Instruments TL16C750 data sheets. What differs from the chips: bytes
take no time on a wire; the received-data interrupt below the trigger level comes at once, as a character time-out (IIR
0xC); OUT2 does not gate the interrupt; DLAB does not protect FCR bit 5; parity, framing and break errors do not happen.

    offset  read                     write            DLAB = 1
    0       RBR received byte        THR byte to send  divisor low
    1       IER interrupts enabled   IER               divisor high
    2       IIR interrupt source     FCR FIFOs; bit 5 makes them 64 bytes deep
    3       LCR line control; bit 7 is DLAB
    4       MCR modem control; bit 4 is loop back
    5       LSR line status
    6       MSR modem status: DCD is high while the other end is there; it falls at the end of the input
    7       SCR scratch
"""

from __future__ import annotations

from typing import Final

from hw.devices.bus import split_read, split_write
from hw.devices.device import Device
from hw.devices.fifo import FIFO_BYTES, Fifo
from hw.interrupts import Trigger
from hw.ram import Ram, Record, Word

RBR, IER, IIR, LCR, MCR, LSR, MSR, SCR = range(8)
THR, FCR = RBR, IIR

IER_RECEIVED, IER_THR_EMPTY, IER_LINE, IER_MODEM = 1, 2, 4, 8
IIR_NONE, IIR_MODEM, IIR_THR_EMPTY, IIR_RECEIVED, IIR_LINE, IIR_TIMEOUT = 0x01, 0x00, 0x02, 0x04, 0x06, 0x0C
IIR_FIFO, IIR_FIFO_64 = 0xC0, 0x20
FCR_ENABLE, FCR_CLEAR_RECEIVER, FCR_CLEAR_TRANSMITTER, FCR_64_BYTES = 0x01, 0x02, 0x04, 0x20
LCR_DLAB: Final = 0x80
MCR_DTR, MCR_RTS, MCR_OUT1, MCR_OUT2, MCR_LOOP = 0x01, 0x02, 0x04, 0x08, 0x10
LSR_DATA_READY, LSR_OVERRUN, LSR_THR_EMPTY, LSR_TRANSMITTER_EMPTY = 0x01, 0x02, 0x20, 0x40
MSR_DELTA_DCD, MSR_CTS, MSR_DSR, MSR_RI, MSR_DCD = 0x08, 0x10, 0x20, 0x40, 0x80
TRIGGER_16: Final = (1, 4, 8, 14)
TRIGGER_64: Final = (1, 16, 32, 56)
DIVISOR_115200: Final = 1


class UartRecord(Record):
    """The chip's registers, and what it knows beside them."""

    __slots__ = ()

    ier = Word(0)
    fcr = Word(8)  # the bits that stay: enable, 64 bytes, trigger level
    lcr = Word(16)
    mcr = Word(24)
    overrun = Word(32)
    msr = Word(40)  # deltas in bits 0..3
    scr = Word(48)
    divisor = Word(56)
    thr_empty_pending = Word(64)  # the THR-empty interrupt is due
    online = Word(72)  # whether the other end is there
    RECEIVER: Final = 256
    TRANSMITTER: Final = 384


class Uart(Device):
    """The device. `receive`, `sending`, `sent` and `carrier` are the line's side, for back ends."""

    PORTS = 8

    def __init__(
        self, ram: Ram, address: int, number: int, first_port: int, irq: int, trigger: Trigger = Trigger.LEVEL
    ) -> None:
        super().__init__(ram, address, number, first_port, irq, trigger)
        self.state = UartRecord(ram, address)
        self.receiver = Fifo(ram, address + UartRecord.RECEIVER)
        self.transmitter = Fifo(ram, address + UartRecord.TRANSMITTER)

    def reset(self) -> None:
        self.state.divisor = DIVISOR_115200
        self.state.online = 1
        self._update_modem(deltas=False)

    def read(self, offset: int, width: int) -> int:
        return self._read(offset) if width == 1 else split_read(self._read, offset, width, self.PORTS)

    def write(self, offset: int, width: int, value: int) -> None:
        if width == 1:
            self._write(offset, value)
        else:
            split_write(self._write, offset, width, value, self.PORTS)

    def output(self) -> bool:
        return self._source() != IIR_NONE

    # --- registers -----------------------------------------------------------------------------------------

    def _read(self, offset: int) -> int:
        state = self.state
        if offset < 2 and state.lcr & LCR_DLAB:
            return state.divisor >> 8 * offset & 0xFF
        match offset:
            case 0:  # RBR
                return self._take_received()
            case 1:
                return state.ier
            case 2:
                return self._take_source()
            case 3:
                return state.lcr
            case 4:
                return state.mcr
            case 5:
                return self._take_line_status()
            case 6:
                value = state.msr
                state.msr = value & 0xF0
                return value
            case _:
                return state.scr

    def _write(self, offset: int, value: int) -> None:
        state = self.state
        if offset < 2 and state.lcr & LCR_DLAB:
            shift = 8 * offset
            state.divisor = state.divisor & ~(0xFF << shift) | value << shift
            return
        match offset:
            case 0:  # THR
                self._send(value)
            case 1:
                if value & ~state.ier & IER_THR_EMPTY and not self.transmitter.count:
                    state.thr_empty_pending = 1
                state.ier = value & 0x0F
            case 2:
                self._set_fifos(value)
            case 3:
                state.lcr = value
            case 4:
                state.mcr = value & 0x1F
                self._update_modem(deltas=True)
                self.kick(self.number)
            case 7:
                state.scr = value

    def _take_received(self) -> int:
        if not self.receiver.count:
            return 0
        byte = self.receiver.pop()
        if not self.receiver.count:
            self.kick(self.number)  # the back end may have more
        return byte

    def _take_source(self) -> int:
        source = self._source()
        if source == IIR_THR_EMPTY:
            self.state.thr_empty_pending = 0
        fcr = self.state.fcr
        if not fcr & FCR_ENABLE:
            return source
        return source | IIR_FIFO | (IIR_FIFO_64 if fcr & FCR_64_BYTES else 0)

    def _take_line_status(self) -> int:
        value = LSR_DATA_READY if self.receiver.count else 0
        if self.state.overrun:
            value |= LSR_OVERRUN
            self.state.overrun = 0
        return value if self.transmitter.count else value | LSR_THR_EMPTY | LSR_TRANSMITTER_EMPTY

    def _send(self, byte: int) -> None:
        self.state.thr_empty_pending = 0
        if self.state.mcr & MCR_LOOP:
            self.receive(bytes([byte]))
            self.state.thr_empty_pending = 1
        elif self.transmitter.count < self.capacity:
            self.transmitter.push(byte)
            if self.transmitter.count == 1:
                self.kick(self.number)

    def _set_fifos(self, value: int) -> None:
        state = self.state
        kept = value & (0xC0 | FCR_ENABLE | FCR_64_BYTES)
        changed = (kept ^ state.fcr) & (FCR_ENABLE | FCR_64_BYTES)
        state.fcr = kept
        if value & FCR_CLEAR_RECEIVER or changed:
            self.receiver.drop(FIFO_BYTES)
            self.kick(self.number)
        if value & FCR_CLEAR_TRANSMITTER or changed:
            self.transmitter.drop(FIFO_BYTES)
            state.thr_empty_pending = 1

    # --- interrupts and modem lines ------------------------------------------------------------------------

    def _source(self) -> int:
        state = self.state
        ier = state.ier
        if ier & IER_LINE and state.overrun:
            return IIR_LINE
        if ier & IER_RECEIVED and self.receiver.count:
            return IIR_RECEIVED if self.receiver.count >= self._trigger_level() else IIR_TIMEOUT
        if ier & IER_THR_EMPTY and state.thr_empty_pending:
            return IIR_THR_EMPTY
        if ier & IER_MODEM and state.msr & 0x0F:
            return IIR_MODEM
        return IIR_NONE

    def _trigger_level(self) -> int:
        fcr = self.state.fcr
        if not fcr & FCR_ENABLE:
            return 1
        return (TRIGGER_64 if fcr & FCR_64_BYTES else TRIGGER_16)[fcr >> 6 & 3]

    def _update_modem(self, deltas: bool) -> None:
        state = self.state
        mcr = state.mcr
        if mcr & MCR_LOOP:
            # The outputs are joined to the inputs: RTS to CTS, DTR to DSR, OUT1 to RI, OUT2 to DCD.
            lines = ((mcr & MCR_RTS) << 3) | ((mcr & MCR_DTR) << 5) | ((mcr & MCR_OUT1) << 4) | ((mcr & MCR_OUT2) << 4)
        else:
            lines = MSR_CTS | MSR_DSR | (MSR_DCD if state.online else 0)
        changed = (lines ^ state.msr) >> 4 & 0x0F if deltas else 0
        state.msr = lines | state.msr & 0x0F | changed

    # --- the line's side -----------------------------------------------------------------------------------

    @property
    def capacity(self) -> int:
        """Bytes that each queue holds in the present mode: 1, 16 or 64."""
        fcr = self.state.fcr
        if not fcr & FCR_ENABLE:
            return 1
        return FIFO_BYTES if fcr & FCR_64_BYTES else 16

    def room(self) -> int:
        """Bytes that can be received without loss; 0 until the driver has set RTS, and in loop back.

        Honouring RTS, the other end keeps back what was typed before there was a driver to read it.
        """
        if self.state.mcr & (MCR_LOOP | MCR_RTS) != MCR_RTS:
            return 0
        return max(0, self.capacity - self.receiver.count)

    def receive(self, data: bytes) -> None:
        """Bytes have come in. What does not fit is lost, and the driver is told of the overrun."""
        for byte in data:
            if self.receiver.count < self.capacity:
                self.receiver.push(byte)
            else:
                self.state.overrun = 1

    def sending(self) -> bytes:
        """The bytes that wait to be sent."""
        return self.transmitter.peek()

    def sent(self, count: int) -> None:
        """The first `count` bytes are on their way."""
        if count and self.transmitter.count:
            self.transmitter.drop(count)
            if not self.transmitter.count:
                self.state.thr_empty_pending = 1

    def carrier(self, online: bool) -> None:
        """Whether the other end is there."""
        self.state.online = int(online)
        self._update_modem(deltas=True)
