"""The kernel's end of the fd store: descriptors that the monitor keeps, so that a kernel that is started again gets
them back.

Messages over a SOCK_SEQPACKET socket, msgpack: `{"op": "keep", "key": …}` with the descriptor attached, or
`{"op": "drop", "keys": […]}`. Nothing is answered. The kernel never waits for the monitor: what the socket does not
take at once is sent later, in order, and until then the descriptor is kept open here.

To drop is not urgent: what is dropped within `DROP_S` is told together, so that the end of a thousand channels does not
wake the monitor a thousand times. What is kept afterwards is told afterwards.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections import deque
from collections.abc import Sequence
from typing import Final

import msgpack

DROP_S: Final = 0.005
DROPPED_TOGETHER: Final = 64  # keys; a message has room for them (hw/monitor.py, MESSAGE_BYTES)


class FdStore:
    """Sends to the monitor. `channel` None keeps nothing (tests, and systems without a monitor)."""

    def __init__(self, channel: socket.socket | None, loop: asyncio.AbstractEventLoop) -> None:
        self._channel = channel
        self._loop = loop
        self._backlog: deque[tuple[bytes, int | None]] = deque()
        self._dropped: list[str] = []  # not told yet
        self._timer: asyncio.TimerHandle | None = None
        if channel is not None:
            channel.setblocking(False)

    def keep(self, key: str, descriptor: int) -> None:
        """Have the monitor keep a duplicate under this key, in place of what it had there."""
        self._tell_dropped()
        self._send({"op": "keep", "key": key}, descriptor)

    def drop(self, key: str) -> None:
        """Have the monitor close what it keeps under this key, if anything."""
        if self._channel is None:
            return
        self._dropped.append(key)
        if len(self._dropped) >= DROPPED_TOGETHER:
            self._tell_dropped()
        elif self._timer is None:
            self._timer = self._loop.call_later(DROP_S, self._tell_dropped)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._channel is not None and self._backlog:
            self._loop.remove_writer(self._channel.fileno())
        for _, descriptor in self._backlog:
            if descriptor is not None:
                os.close(descriptor)
        self._backlog.clear()

    def _tell_dropped(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._dropped:
            dropped, self._dropped = self._dropped, []
            self._send({"op": "drop", "keys": dropped}, None)

    def _send(self, message: dict[str, str | Sequence[str]], descriptor: int | None) -> None:
        if self._channel is None:
            return
        data = msgpack.packb(message)
        if self._backlog or not self._try_send(data, descriptor):
            if not self._backlog:
                self._loop.add_writer(self._channel.fileno(), self._flush)
            self._backlog.append((data, None if descriptor is None else os.dup(descriptor)))

    def _try_send(self, data: bytes, descriptor: int | None) -> bool:
        assert self._channel is not None
        try:
            socket.send_fds(self._channel, [data], [] if descriptor is None else [descriptor])
        except BlockingIOError:
            return False
        except (BrokenPipeError, ConnectionResetError):
            return True  # without its monitor this process ends as well
        except OSError as error:
            if error.errno != errno.ETOOMANYREFS:  # until the monitor has taken some of those on their way
                raise
            return False
        return True

    def _flush(self) -> None:
        assert self._channel is not None
        while self._backlog and self._try_send(*self._backlog[0]):
            _, descriptor = self._backlog.popleft()
            if descriptor is not None:
                os.close(descriptor)
        if not self._backlog:
            self._loop.remove_writer(self._channel.fileno())
