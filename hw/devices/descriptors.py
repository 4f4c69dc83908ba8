"""A serial back end on two descriptors: pipes, terminals, files. Base of the stdio and pty back ends.

It never blocks. The descriptors may be shared with other processes, so their O_NONBLOCK is left alone: it reads what
poll(2) says is there, and writes at most 64 bytes at a time to what poll(2) says takes them. A descriptor that
epoll(7) refuses (a regular file, /dev/null) is always ready. Bytes are read only as far as the UART has room: the
host's own buffer holds the rest. What a file has no room for is lost, as on a line that nobody listens to: it is for no
driver to wait for the host's disk. Whoever started the system is told that something was.
"""

from __future__ import annotations

import errno
import os
import select
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from hw.devices.serial_line import SerialLine

if TYPE_CHECKING:
    import asyncio  # the monitor has no loop

ESCAPE: Final = 0x1D  # Ctrl-], as telnet's
NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # a file's; there may be some again later
GONE: Final = (errno.EPIPE, errno.ECONNRESET, errno.EIO)  # whoever read it: he has seen enough


class DescriptorBackend:
    """Joins the line to descriptors, which the caller opened and closes.

    Args:
        escape: called when the byte `ESCAPE` is read; None passes it on. A person at a raw terminal has no other way
        out.
        lost: called with an error's number, once, when something is lost that somebody may want.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        line: SerialLine,
        source: int,
        target: int,
        escape: Callable[[], None] | None = None,
        lost: Callable[[int], None] | None = None,
    ) -> None:
        self._loop = loop
        self._line = line
        self._source: int | None = source
        self._target: int | None = target
        self._escape = escape
        self._lost = lost
        self._source_waits = can_wait(source)
        self._reading = False
        self._writing = False
        self._soon: asyncio.Handle | None = None
        self.kicked()

    def kicked(self) -> None:
        if self._soon is None:
            self._soon = self._loop.call_soon(self._pump)

    def close(self) -> None:
        if self._soon is not None:
            self._soon.cancel()
        self._stop_reading()
        self._stop_writing()
        self._source = self._target = None

    def _pump(self) -> None:
        self._soon = None
        self._write()
        if self._source is None or self._reading or not self._line.room():
            return
        if self._source_waits:
            self._reading = True
            self._loop.add_reader(self._source, self._read)
        else:
            self._read()

    # --- host to UART --------------------------------------------------------------------------------------

    def _read(self) -> None:
        if self._source is None:
            return
        room = self._line.room()
        if not room:
            self._stop_reading()
            return
        try:
            data = os.read(self._source, room)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:  # the terminal has gone (EIO), or the other end (ECONNRESET)
            data = b""
        if not data:
            self._stop_reading()
            self._source = None
            self._line.carrier(False)
            return
        if self._escape is not None and ESCAPE in data:
            self._escape()
            data = data.replace(bytes([ESCAPE]), b"")
        if data:
            self._line.receive(data)
        if not self._source_waits:
            self.kicked()

    def _stop_reading(self) -> None:
        if self._reading and self._source is not None:
            self._loop.remove_reader(self._source)
        self._reading = False

    # --- UART to host --------------------------------------------------------------------------------------

    def _write(self) -> None:
        while data := self._line.sending():
            count = self._write_some(data)
            if not count:
                return
            self._line.sent(count)
        self._stop_writing()

    def _write_some(self, data: bytes) -> int:
        """How many bytes are gone; 0 if it has to wait. All are where nobody can read, or a file has no room."""
        if self._target is None:
            return len(data)
        try:
            if takes(self._target):
                return os.write(self._target, data)
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as error:
            if self._lost is not None and error.errno is not None and error.errno not in GONE:
                self._lost(error.errno)
                self._lost = None
            if error.errno not in NO_ROOM:
                self._stop_writing()
                self._target = None
            return len(data)
        if not self._writing:
            self._writing = True
            self._loop.add_writer(self._target, self._write)
        return 0

    def _stop_writing(self) -> None:
        if self._writing and self._target is not None:
            self._loop.remove_writer(self._target)
        self._writing = False


def can_wait(descriptor: int) -> bool:
    """Whether epoll(7) takes the descriptor. Those that it refuses are always ready."""
    with select.epoll() as probe:
        try:
            probe.register(descriptor, select.EPOLLIN)
        except PermissionError:
            return False
    return True


def takes(descriptor: int) -> bool:
    """Whether 64 bytes can be written without blocking (a pipe that is writable has a page of room)."""
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return bool(poll.poll(0))
