"""The descriptor of frames: a SOCK_SEQPACKET socket, a frame each message. Lossless, in order, with back pressure.

Rules. Nothing blocks. What the socket does not take waits in a queue; who makes many frames looks at `is_blocked`
first, and is told by `drained` when it may go on. Past ``most`` frames are dropped, and counted.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from hw.iommu import Buffer

if TYPE_CHECKING:
    import asyncio  # the monitor and `sel4py` have no loop

FRAMES_A_TURN: Final = 64
MOST_QUEUED: Final = 4096
SOCKET_BYTES: Final = 1 << 20  # of frames on their way
MOST_BYTES: Final = 65535 + 18  # of a frame: an IP packet, Ethernet's header, a VLAN tag


def pair_of_sockets() -> tuple[socket.socket, socket.socket]:
    """Two ends that frames go between: a device's back end and what is at its other side."""
    pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in pair:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BYTES)
    return pair


class FrameLink:
    """Frames of one socket, which stays the caller's.

    Args:
        received: called with each frame. turn_ended: called after each bounded batch of them. drained: the queue has
        become empty. ended: the other side is gone. most: frames that may wait.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        end: socket.socket,
        received: Callable[[bytes], None],
        turn_ended: Callable[[], None],
        drained: Callable[[], None],
        ended: Callable[[], None],
        most: int = MOST_QUEUED,
    ) -> None:
        self._loop = loop
        self._end = end
        self._received = received
        self._turn_ended = turn_ended
        self._drained = drained
        self._ended = ended
        self._most = most
        self._queue: deque[bytes] = deque()
        self._closed = False
        self.dropped = 0
        end.setblocking(False)
        loop.add_reader(end, self._read)

    @property
    def is_blocked(self) -> bool:
        return bool(self._queue)

    def send(self, *parts: Buffer) -> None:
        """Send a frame, or keep it until the socket takes it."""
        if self._closed:
            return
        if not self._queue:
            try:
                self._end.sendmsg(parts)
                return
            except BlockingIOError:
                self._loop.add_writer(self._end, self._write)
            except OSError:  # nobody is there any more; the reader notices
                self.dropped += 1
                return
        if len(self._queue) >= self._most:
            self.dropped += 1
        else:
            self._queue.append(b"".join(parts))

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._loop.remove_reader(self._end)
        self._loop.remove_writer(self._end)
        self._queue.clear()

    def _read(self) -> None:
        for _ in range(FRAMES_A_TURN):
            try:
                frame = self._end.recv(MOST_BYTES)
            except BlockingIOError:
                break
            except OSError:
                frame = b""
            if not frame:
                self.close()
                self._turn_ended()
                self._ended()
                return
            self._received(frame)
        self._turn_ended()

    def _write(self) -> None:
        while self._queue:
            try:
                self._end.send(self._queue[0])
            except BlockingIOError:
                return
            except OSError:
                self.dropped += len(self._queue)
                self._queue.clear()
                break
            self._queue.popleft()
        self._loop.remove_writer(self._end)
        self._drained()
