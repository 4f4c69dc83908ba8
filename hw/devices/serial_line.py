"""The line between a UART and a back end: each movement of bytes is a transaction, and the kernel hears of it.

A back end is kicked after the commit of a system call that gave it bytes, or room for bytes. It must not block.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from hw.devices.bus import IoBus
from hw.devices.uart import Uart


class SerialLine:
    """The UART's other end.

    `changed` is called after each movement: an interrupt line may have been raised.
    """

    def __init__(self, bus: IoBus, uart: Uart, changed: Callable[[], None]) -> None:
        self._bus = bus
        self._uart = uart
        self._changed = changed

    def room(self) -> int:
        """Bytes that `receive` takes now."""
        return self._uart.room()

    def receive(self, data: bytes) -> None:
        """Hand bytes to the UART; at most `room()` of them, or it loses the rest."""
        self._change(lambda: self._uart.receive(data))

    def sending(self) -> bytes:
        """The bytes that the UART has to send, at most 64."""
        return self._uart.sending()

    def sent(self, count: int) -> None:
        """The first `count` of them are on their way."""
        self._change(lambda: self._uart.sent(count))

    def carrier(self, online: bool) -> None:
        """Whether there is anybody at the other end."""
        self._change(lambda: self._uart.carrier(online))

    def _change(self, change: Callable[[], None]) -> None:
        self._bus.change(self._uart, change)
        self._changed()


class SerialBackend(Protocol):
    """What is at the other end."""

    def kicked(self) -> None:
        """The UART has bytes to send, or room for more."""
        ...

    def close(self) -> None:
        """Let go of everything on the host. The line is not used any more."""
        ...


class MemoryBackend:
    """A back end in memory, for tests: what was sent is in `output`; `feed` is what somebody types."""

    def __init__(self, line: SerialLine) -> None:
        self.output = bytearray()
        self._line = line
        self._input = bytearray()

    def feed(self, data: bytes) -> None:
        self._input += data
        self.kicked()

    def end_input(self) -> None:
        self._line.carrier(False)

    def kicked(self) -> None:
        while data := self._line.sending():
            self.output += data
            self._line.sent(len(data))
        while self._input and (room := self._line.room()):
            chunk = bytes(self._input[:room])
            del self._input[:room]
            self._line.receive(chunk)

    def close(self) -> None:
        self._input.clear()
