"""Joins this process's standard streams to a system's console, until one end is closed or Ctrl-] is typed; or types
lines there, each when the one before was answered.

Rules: the terminal is as it was when this returns, however it returns; bytes pass as they are, in both directions.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import termios
import time
import tty
from collections.abc import Iterable, Iterator
from typing import Final

from deploy.answers import AnswerError
from deploy.whole_output import write_whole

LEAVE: Final = b"\x1d"  # Ctrl-]
_CHUNK: Final = 4096


class Unanswered(AnswerError):
    """The text that stands behind each answer did not come in time."""


def join(console: int, source: int = 0, sink: int = 1) -> None:
    """Relays between ``console`` (an open pseudo-terminal) and the streams. Raises OSError, NotWritten: one fails."""
    with _raw(source):
        poll = select.poll()
        for descriptor in (console, source):
            poll.register(descriptor, select.POLLIN)
        while True:
            ready = {descriptor for descriptor, _ in poll.poll()}
            if console in ready:
                data = _read(console)
                if not data:
                    return
                write_whole(sink, data)
            if source in ready:
                data, typed_leave, _ = os.read(source, _CHUNK).partition(LEAVE)
                _write(console, data)
                if typed_leave or not data:
                    return


def converse(console: int, lines: Iterable[bytes], prompt: bytes, seconds: float, sink: int = 1) -> None:
    """Types each line, and shows what is answered, up to ``prompt``; returns behind the last answer.

    What the console has said before is shown first. Its end is an answer to the last line.

    Raises:
        Unanswered: the prompt did not come within ``seconds`` behind a line, or the console ended with lines left.
        OSError, NotWritten: a stream fails.
    """
    poll = select.poll()
    poll.register(console, select.POLLIN)
    is_open = True
    while is_open and poll.poll(0):
        is_open = _show(console, sink) != b""
    for line in lines:
        typed = line.rstrip(b"\n")
        if not is_open:
            raise Unanswered(f"the console ended before {typed.decode(errors='replace')!r} was typed")
        _write(console, typed + b"\n")
        shown, deadline = b"", time.monotonic() + seconds
        while is_open and prompt not in shown:
            if not poll.poll(max(0, deadline - time.monotonic()) * 1000):
                wanted, behind = prompt.decode(errors="replace"), typed.decode(errors="replace")
                raise Unanswered(f"{wanted!r} did not come within {seconds:g} s behind {behind!r}")
            data = _show(console, sink)
            is_open, shown = data != b"", shown[-len(prompt) :] + data


def _show(console: int, sink: int) -> bytes:
    data = _read(console)
    write_whole(sink, data)
    return data


@contextlib.contextmanager
def _raw(source: int) -> Iterator[None]:
    if not os.isatty(source):
        yield
        return
    before = termios.tcgetattr(source)
    # Draining keeps what was typed before; setraw's own way would throw it away.
    tty.setraw(source, termios.TCSADRAIN)
    try:
        yield
    finally:
        termios.tcsetattr(source, termios.TCSADRAIN, before)


def _read(console: int) -> bytes:
    """What the console has said; b"" when its other end is closed."""
    try:
        return os.read(console, _CHUNK)
    except OSError as error:
        if error.errno == errno.EIO:
            return b""
        raise


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
