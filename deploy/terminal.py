"""Joins this process's standard streams to a system's console, until one end is closed or Ctrl-] is typed.

Rules: the terminal is as it was when this returns, however it returns; bytes pass as they are, in both directions.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import termios
import tty
from collections.abc import Iterator
from typing import Final

LEAVE: Final = b"\x1d"  # Ctrl-]
_CHUNK: Final = 4096


def join(console: int, source: int = 0, sink: int = 1) -> None:
    """Relays between ``console`` (an open pseudo-terminal) and the streams. Raises OSError if a stream fails."""
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
                _write(sink, data)
            if source in ready:
                data, typed_leave, _ = os.read(source, _CHUNK).partition(LEAVE)
                _write(console, data)
                if typed_leave or not data:
                    return


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
