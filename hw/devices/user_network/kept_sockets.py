"""This process's side of what keeps the host's sockets beyond its death: the monitor holds a copy of each descriptor.

Rules. Nothing blocks: what the way to the monitor does not take at once waits in order. A socket that is let go of ends
when both have closed it, so closing here is telling there. See `hw.kept_descriptors`.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from typing import Final

from hw.kept_descriptors import NUMBER

_KEEP, _DROP = True, False
_Said = tuple[bool, int, socket.socket | None]
NOBODY: Final = -1  # closed meanwhile


class KeptSockets:
    """``end``: of the way to who keeps them; None: nobody does, and all ends with this process."""

    def __init__(self, loop: asyncio.AbstractEventLoop, end: socket.socket | None) -> None:
        self._loop = loop
        self._end = end
        self._waiting: deque[_Said] = deque()
        if end is not None:
            end.setblocking(False)

    def keep(self, number: int, host: socket.socket) -> None:
        """From now on, until it is let go of."""
        self._say((_KEEP, number, host))

    def let_go(self, number: int) -> None:
        self._say((_DROP, number, None))

    def close(self) -> None:
        if self._end is not None:
            self._loop.remove_writer(self._end)
            self._waiting.clear()
            self._end.close()
            self._end = None

    def _say(self, said: _Said) -> None:
        if self._end is None:
            return
        if self._waiting or not self._sent(self._end, said):
            if not self._waiting:
                self._loop.add_writer(self._end, self._write)
            self._waiting.append(said)

    def _write(self) -> None:
        assert self._end is not None
        while self._waiting:
            if not self._sent(self._end, self._waiting[0]):
                return
            self._waiting.popleft()
        self._loop.remove_writer(self._end)

    def _sent(self, end: socket.socket, said: _Said) -> bool:
        """False: there is no room yet."""
        is_kept, number, host = said
        descriptors = []
        if is_kept:
            assert host is not None
            if host.fileno() == NOBODY:
                return True
            descriptors.append(host.fileno())
        try:
            socket.send_fds(end, [NUMBER.pack(number)], descriptors)
        except BlockingIOError:
            return False
        except OSError:  # too many descriptors of this user are on their way (it is kept by nobody), or nobody is there
            return True
        return True
