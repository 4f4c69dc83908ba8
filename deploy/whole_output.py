"""What is written to a standard stream is written whole, or is told of.

Others who have the same pipe or terminal may have made it return at once where there is no room: then it is waited for.
Python's own unbuffered streams (PYTHONUNBUFFERED) lose what a descriptor takes of a write no more, and tell nobody.
"""

from __future__ import annotations

import io
import os
import select
from typing import TYPE_CHECKING, TextIO

from deploy.answers import AnswerError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class NotWritten(AnswerError):
    """Standard output takes no more; the text says why."""


def write_some(descriptor: int, data: ReadableBuffer) -> int:
    """How many bytes are written: one, at least. Raises OSError."""
    while True:
        try:
            return os.write(descriptor, data)
        except BlockingIOError:
            room = select.poll()
            room.register(descriptor, select.POLLOUT)
            room.poll()


def write_whole(descriptor: int, data: bytes | memoryview) -> None:
    """Raises BrokenPipeError where nobody reads it, NotWritten."""
    left = memoryview(data)
    try:
        while left:
            left = left[write_some(descriptor, left) :]
    except BrokenPipeError:
        raise
    except OSError as error:
        raise NotWritten(f"the output cannot be written: {error.strerror}") from error


def whole(descriptor: int, former: TextIO) -> TextIO:
    """A stream in the place of one of the interpreter's own."""
    raw = _Raw(descriptor)
    return io.TextIOWrapper(io.BufferedWriter(raw), former.encoding, former.errors, line_buffering=raw.isatty())


class _Raw(io.RawIOBase):
    """A descriptor, which stays open."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def writable(self) -> bool:
        return True

    def write(self, data: ReadableBuffer, /) -> int:
        return write_some(self._descriptor, data)
