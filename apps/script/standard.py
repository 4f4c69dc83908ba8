"""A program's standard streams, over the one line that it has."""

from __future__ import annotations

import io
import threading
from typing import TYPE_CHECKING, Final

from apps.script import pump
from apps.script.line import Line
from libsel4py.streams import LACKING, Stream

if TYPE_CHECKING:
    from typing_extensions import Buffer

PIECE_BYTES: Final = 16000
_writing: Final = threading.RLock()
_reading: Final = threading.RLock()


class Output(io.RawIOBase):
    """One of the two. What is written is the driver's when `write` returns."""

    def __init__(self, line: Line, stream: Stream, name: str, terminal: bool) -> None:
        self.name = name
        self.mode = "wb"
        self._line = line
        self._stream = stream
        self._terminal = terminal

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return self._terminal

    def write(self, data: Buffer, /) -> int:
        view = memoryview(data).cast("B")
        pump.call(lambda: self._line.send(self._stream, view), _writing)
        return len(view)


class Input(io.RawIOBase):
    """What is typed, or piped in; ends where that ends. Nothing is taken that nobody has asked for."""

    def __init__(self, line: Line, terminal: bool) -> None:
        self.name = "<stdin>"
        self.mode = "rb"
        self._line = line
        self._left = b""
        self._ended = False
        self._terminal = terminal

    def readable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return self._terminal

    def readinto(self, buffer: Buffer, /) -> int:
        if not self._left and not self._ended:
            self._left = pump.call(self._ask, _reading)
            self._ended = not self._left
        view = memoryview(buffer).cast("B")
        count = min(len(view), len(self._left))
        view[:count] = self._left[:count]
        self._left = self._left[count:]
        return count

    def _ask(self) -> bytes:
        with _writing:
            self._line.send(Stream.WANTED, b"")
        return self._line.receive(Stream.INPUT)


def text_output(raw: Output) -> io.TextIOWrapper:
    """As the interpreter makes them: by lines at a terminal, and standard error always."""
    is_error = raw.name == "<stderr>"
    errors = "backslashreplace" if is_error else "strict"
    buffered = io.BufferedWriter(raw, PIECE_BYTES)
    return io.TextIOWrapper(buffered, "utf-8", errors, line_buffering=is_error or raw.isatty())


def text_input(raw: Input) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BufferedReader(raw, PIECE_BYTES), "utf-8", "surrogateescape")


def finish(line: Line, whole: bool) -> None:
    """Say that the program ends by itself, and whether its files are whole; returns when who started it has heard."""
    with _writing:
        line.send(Stream.END, b"" if whole else LACKING)
    line.receive(Stream.END)
