"""This process's side of what keeps the host's sockets beyond its death: the monitor holds a copy of each descriptor.

Rules. Nothing blocks: what the way to the monitor does not take at once waits in order, and is lost with this process.
So a number is given once, and who uses a socket that is kept waits until that was said. A socket that is let go of
ends when both have closed it, so closing here is telling there. See `hw.kept_descriptors`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple

from hw.kept_descriptors import NUMBER

NOBODY: Final = -1  # closed meanwhile


class _Said(NamedTuple):
    """``host``: to be kept by that number; None: what is, is let go of. ``said``: to be called then."""

    number: int
    host: socket.socket | None
    said: Callable[[], None]


class KeptSockets:
    """``end``: of the way to who keeps them; None: nobody does, and all ends with this process."""

    def __init__(self, loop: asyncio.AbstractEventLoop, end: socket.socket | None) -> None:
        self._loop = loop
        self._end = end
        self._waiting: deque[_Said] = deque()
        if end is not None:
            end.setblocking(False)

    def keep(self, number: int, host: socket.socket, said: Callable[[], None]) -> None:
        """From when ``said`` is called, which may be at once, until it is let go of. ``number``: `any_number`."""
        self._say(_Said(number, host, said))

    def let_go(self, number: int) -> None:
        self._say(_Said(number, None, _nothing))

    def close(self) -> None:
        if self._end is not None:
            self._loop.remove_writer(self._end)
            self._waiting.clear()
            self._end.close()
            self._end = None

    def _say(self, said: _Said) -> None:
        if self._end is None:
            said.said()
        elif self._waiting or not self._sent(self._end, said):
            if not self._waiting:
                self._loop.add_writer(self._end, self._write)
            self._waiting.append(said)

    def _write(self) -> None:
        while self._waiting:
            assert self._end is not None
            if not self._sent(self._end, self._waiting[0]):
                return
            self._waiting.popleft()
        assert self._end is not None
        self._loop.remove_writer(self._end)

    def _sent(self, end: socket.socket, said: _Said) -> bool:
        """False: there is no room yet."""
        descriptors = [] if said.host is None else [said.host.fileno()]
        if NOBODY in descriptors:
            return True
        # An OSError: too many descriptors of this user are on their way (it is kept by nobody), or nobody is there.
        with contextlib.suppress(OSError):
            try:
                socket.send_fds(end, [NUMBER.pack(said.number)], descriptors)
            except BlockingIOError:
                return False
        said.said()
        return True


def any_number() -> int:
    """One that was never given before."""
    return int.from_bytes(os.urandom(NUMBER.size), "big")


def _nothing() -> None:
    """Nobody waits for it to be said."""
