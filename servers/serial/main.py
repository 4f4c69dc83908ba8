"""The serial driver: a 16550A by its I/O ports and its interrupt, offered as bytes in and bytes out.

Must be given: a device named ``uart`` (ports, interrupt). Holds at most `MAX_BUFFERED` received bytes and a FIFO more;
what comes on top of them stays in the device, whose flow control holds the other end back. Writers wait until the
device has taken their bytes, `MOST_WRITES` of one client. A client has one read at a time: one that reads again was
started anew, or has given up its former call, and what comes must not be lost on that.

The line is a data space as well (`libsel4py.interfaces.data_space`), by the name ``serial``: each open one reads as a
client of its own. With ``state`` (128K), received bytes outlive this process from the moment that they are
noted, and are handed out once: what is lost is one FIFO at most, which was read and not noted yet. A piece that was
being sent is sent again as a whole.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import msgspec

from libsel4py import ServiceError, component, on_notification
from libsel4py.capabilities import IOPort, IRQHandler
from libsel4py.context import DEFER, ReplyToken
from libsel4py.data_server import Content, DataServer
from libsel4py.errors import TooManyDeferred
from libsel4py.interfaces.data_space import MOST_OPEN, DataGone, OpenFlags
from libsel4py.interfaces.serial import WRITE_BYTES, Serial
from libsel4py.lowlevel.batch import Batch
from libsel4py.state import ensure_state
from libsel4py.watchdog import LOOK_S, watchdog
from servers.serial import uart16550 as uart

READER_LOOK_S: Final = 1.0
MAX_BUFFERED: Final = 16384  # bytes
MOST_WRITES: Final = 16  # of one client that wait, those included that it has given up
LEAST_CLIENTS: Final = 4


STATE_BYTES: Final = 1 << 17  # for `MAX_BUFFERED` and remembered answers, twice


class Received(msgspec.Struct):
    """Bytes that came and were not handed out."""

    data: bytes = b""


class ReadAgain(ServiceError):
    """The client has called `read` again before this call was answered."""


class Line(Content):
    """The line as a data space."""

    has_offsets = False

    def __init__(self, driver: Main) -> None:
        self._driver = driver
        self._reader: int | None = None  # its badge, once it has read

    def read(self, offset: int, length: int) -> bytes:
        self._reader = self._driver.caller.badge
        return self._driver.take(length)

    def write(self, offset: int, data: bytes) -> int:
        self._driver.give(data, len(data))
        return DEFER

    def close(self) -> None:
        if self._reader is not None:
            self._driver.let_go(self._reader)


@component
class Main(Serial, DataServer):
    """One UART."""

    data_space_name = "serial"

    def __init__(self) -> None:
        device = self.task.environment.devices["uart"]
        self._ports = IOPort(device.io_port)
        self._base = device.first_port
        self._interrupt = IRQHandler(device.irq_handler)
        ensure_state(self.task, STATE_BYTES)
        self._kept = self.kept(Received)
        self._received = bytearray(self._kept.value.data)
        self._held_back = False  # there was no room for what the device holds
        self._closed = False
        self._readers: dict[int, tuple[ReplyToken, int]] = {}  # by badge, in the order in which they asked; most bytes
        self._to_send: deque[tuple[bytes, ReplyToken, int | None]] = deque()  # with what to answer
        self._sending = bytearray()

    def start(self) -> None:
        """Set the line up: 8 bits, FIFOs on; and serve the device, which may be in the midst of things."""
        clients = {each.caller.name for each in self.server.connections.values()}
        self.server.allow_deferred((MOST_WRITES + MOST_OPEN + 1) * max(LEAST_CLIENTS, len(clients)))
        self._out(uart.LINE_CONTROL, uart.EIGHT_BITS)
        self._out(uart.FIFO_CONTROL, uart.FIFO_ENABLE_64)
        self.on_uart()
        self.server.alarm = watchdog(self._waits, self._look, self._patience)  # its interrupts may be lost

    def data_space(self, name: str, how: OpenFlags, size: int) -> Content:
        return Line(self)

    def write_piece(self, data: bytes) -> None:
        self.give(data, None)

    def give(self, data: bytes, answer: int | None) -> None:
        """Send bytes; the caller waits for the answer until the device has taken them.

        Raises TooManyDeferred: so many of its own wait already.
        """
        name = self.caller.name
        if sum(token.caller.name == name for _, token, _ in self._to_send) >= MOST_WRITES:
            raise TooManyDeferred(f"{MOST_WRITES} pieces of {name} wait for the device already; send more later")
        self._to_send.append((data, self.defer_reply(), answer))
        self._transmit()
        self._enable_interrupts()

    def read(self) -> bytes:
        return self.take(WRITE_BYTES)

    def take(self, most: int) -> bytes:
        """Bytes that are there, at most so many; the caller waits for the first one."""
        if not self._received and not self._closed:
            token = self.defer_reply()
            former = self._readers.pop(self.caller.badge, None)
            self._readers[self.caller.badge] = token, most
            if former is not None:
                former[0].fail(ReadAgain("this client reads again: one read at a time"))
            return DEFER
        piece = self._take(most)
        if self._held_back:
            self._receive()
            self._enable_interrupts()
        return piece

    def let_go(self, badge: int) -> None:
        """Who reads by this badge, if anybody does, is handed nothing any more."""
        token, _ = self._readers.pop(badge, (None, 0))
        if token is not None:
            token.fail(DataGone("the data space was closed"))

    @on_notification("uart")
    def on_uart(self) -> None:
        """The device wants something: take what came, send what fits, and let it interrupt again."""
        self._receive()
        self._transmit()
        self._enable_interrupts()
        self._interrupt.ack()

    def _waits(self) -> bool:
        """Whether somebody does, for what the device is to interrupt for."""
        return bool(self._readers or self._to_send or self._sending)

    def _patience(self) -> float:
        """Somebody reads as long as the system runs, and most of that time nothing comes: that is looked for less."""
        return LOOK_S if self._to_send or self._sending else READER_LOOK_S

    def _look(self) -> None:
        """See whether the device has what an interrupt should have told of."""
        with Batch() as batch:
            line = batch.queue(self._ports.in8, self._base + uart.LINE_STATUS)
            modem = batch.queue(self._ports.in8, self._base + uart.MODEM_STATUS)
        can_send = line.result() & uart.LINE_TRANSMIT_EMPTY and (self._sending or self._to_send)
        if line.result() & uart.LINE_DATA_READY or can_send or not modem.result() & uart.MODEM_CARRIER:
            self.on_uart()

    def _receive(self) -> None:
        # Asked before the last bytes are taken: those that came before the carrier went are not lost with it.
        carrier = self._ports.in8(self._base + uart.MODEM_STATUS) & uart.MODEM_CARRIER
        self._held_back = True
        while len(self._received) < MAX_BUFFERED:
            came = self._read_fifo()
            self._received += came
            self._note()
            self._kept.commit()
            if len(came) < uart.FIFO_BYTES:
                self._held_back = False
                break
        self._closed = not carrier and not self._held_back
        while self._readers and (self._received or self._closed):
            token, most = self._readers.pop(next(iter(self._readers)))
            token.complete(self._take(most))

    def _read_fifo(self) -> bytes:
        """What the device holds: status and byte in pairs.

        RTS is low meanwhile, so that no byte can arrive between a look at the status and the read that follows it.
        """
        control = self._base + uart.MODEM_CONTROL
        with Batch() as batch:
            batch.queue(self._ports.out8, control, uart.DATA_READY_AND_INTERRUPTS & ~uart.REQUEST_TO_SEND)
            pairs = [
                (
                    batch.queue(self._ports.in8, self._base + uart.LINE_STATUS),
                    batch.queue(self._ports.in8, self._base + uart.RECEIVE),
                )
                for _ in range(uart.FIFO_BYTES)
            ]
            batch.queue(self._ports.out8, control, uart.DATA_READY_AND_INTERRUPTS)
        if any(status.result() & uart.LINE_OVERRUN for status, _ in pairs):
            self.log.warning("the other end did not wait for RTS: received bytes were lost")
        return bytes(byte.result() for status, byte in pairs if status.result() & uart.LINE_DATA_READY)

    def _take(self, most: int) -> bytes:
        piece = bytes(self._received[:most])
        del self._received[:most]
        self._note()
        return piece

    def _note(self) -> None:
        self._kept.value.data = bytes(self._received)

    def _transmit(self) -> None:
        """Fill the transmit FIFO whenever it is empty."""
        while self._sending or self._to_send:
            if not self._ports.in8(self._base + uart.LINE_STATUS) & uart.LINE_TRANSMIT_EMPTY:
                break
            if not self._sending:
                self._sending += self._to_send[0][0]
            piece = self._sending[: uart.FIFO_BYTES]
            with Batch() as batch:
                for byte in piece:
                    batch.queue(self._ports.out8, self._base + uart.TRANSMIT, byte)
            del self._sending[: len(piece)]
            if not self._sending:
                _, token, answer = self._to_send.popleft()
                token.complete(answer)

    def _enable_interrupts(self) -> None:
        """For what there is something to do about: room for input, bytes to send, the carrier."""
        wanted = uart.ENABLE_MODEM
        if not self._held_back:
            wanted |= uart.ENABLE_RECEIVE
        if self._sending or self._to_send:
            wanted |= uart.ENABLE_TRANSMIT_EMPTY
        self._out(uart.INTERRUPT_ENABLE, wanted)

    def _out(self, register: int, value: int) -> None:
        self._ports.out8(self._base + register, value)
