"""Where a command's output goes, and where its input comes from: the terminal, the next command, a file.

Rules: output is bytes; text is UTF-8. What goes through a pipe is held in the shell's memory until the command that
wrote it has ended, since the shell has one thread: at most `PIPE_BYTES`.
"""

from __future__ import annotations

import codecs
import io
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import IO, Final

from libsel4py import ServerDied
from libsel4py.interfaces.console import Console, EndOfInput

PIPE_BYTES: Final = 8 << 20
CHUNK_BYTES: Final = 64 << 10


class PipeFull(Exception):
    """A command writes more than goes through a pipe."""


class Output(ABC):
    """Takes what a command writes."""

    @abstractmethod
    def write(self, data: bytes) -> None:
        """Take bytes. Raises what the other side raises."""

    def finish(self) -> None:
        """There is no more to come."""
        return


class ToConsole(Output):
    """Shows text; what is no UTF-8 is shown as U+FFFD. If the console dies of it, its successor shows it again."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def write(self, data: bytes) -> None:
        self._show(self._decoder.decode(data))

    def finish(self) -> None:
        self._show(self._decoder.decode(b"", final=True))

    def _show(self, text: str) -> None:
        while text:
            try:
                self._console.write(text)
                return
            except ServerDied:
                continue


class ToPipe(Output):
    """Holds what is written for the next command."""

    def __init__(self) -> None:
        self._held = bytearray()

    def write(self, data: bytes) -> None:
        if len(self._held) + len(data) > PIPE_BYTES:
            raise PipeFull(
                f"more than {PIPE_BYTES >> 20} MiB do not go through a pipe: write them to a file with > PATH"
            )
        self._held += data

    def reader(self) -> IO[bytes]:
        """What was written, to be read once."""
        return io.BytesIO(bytes(self._held))


class ToFile(Output):
    """Writes to an open file, which is whole when `finish` returns."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def write(self, data: bytes) -> None:
        self._file.write(data)

    def finish(self) -> None:
        self._file.close()


class Typed(io.RawIOBase):
    """What a person types, line by line, up to Ctrl-D on an empty line: the input of a command that was given none."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._rest = b""
        self._ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object, /) -> int:
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        if not self._rest and not self._ended:
            try:
                self._rest = (self._console.read_line("", history=False) + "\n").encode()
            except EndOfInput:
                self._ended = True
        part = self._rest[: len(view)]
        view[: len(part)] = part
        self._rest = self._rest[len(part) :]
        return len(part)


def chunks(source: IO[bytes]) -> Iterator[bytes]:
    """A file's bytes, in pieces of at most `CHUNK_BYTES`."""
    while piece := source.read(CHUNK_BYTES):
        yield piece
