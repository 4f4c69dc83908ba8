"""The program's end of its one line: frames to who started it, and from there.

Rules. All is called by threads that may trap (`pump`), and writers come one at a time. Whoever waits for the driver
waits for one notification; one thread does so for all, and a count says what has come since somebody has looked.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Final

from libsel4py.bell import Bell
from libsel4py.bulk import Buffer, Consumer, Producer
from libsel4py.dataspace import DataSpace
from libsel4py.interfaces.ethernet import (
    HEADROOM,
    Ethernet,
    buffer_bytes,
    opening_bytes,
    receive_offset,
    ring_layout,
)
from libsel4py.mapping import map_memory
from libsel4py.streams import MTU, Stream, head, take_apart
from libsel4py.task import Task

BUFFERS: Final = 16  # of each direction


class _Doorbell:
    """One notification for several threads that wait."""

    def __init__(self, bell: Bell) -> None:
        self.count = 0
        self._bell = bell
        self._changed = threading.Condition()
        self._somebody_waits = False

    def ring(self) -> None:
        """Let those who wait for another thread look."""
        with self._changed:
            self.count += 1
            self._changed.notify_all()

    def wait(self, seen: int) -> None:
        """Until it has rung since the count was ``seen``."""
        with self._changed:
            while self.count == seen:
                if self._somebody_waits:
                    self._changed.wait()
                    continue
                self._somebody_waits = True
                self._changed.release()
                try:
                    self._bell.wait()
                finally:
                    self._changed.acquire()
                    self._somebody_waits = False
                    self.count += 1
                    self._changed.notify_all()


class Line:
    """Opened once, for the program's life. Raises what `Ethernet.open` does."""

    def __init__(self, card: Ethernet, task: Task) -> None:
        size = buffer_bytes(MTU)
        space = DataSpace.allocate(opening_bytes(BUFFERS, BUFFERS, size), task)
        mapping = space.attach()
        card.open(space.share(), BUFFERS, BUFFERS, size)
        layout, behind = ring_layout(BUFFERS, size), receive_offset(BUFFERS, size)
        out, back = (map_memory(mapping.address + at, layout.size, True) for at in (0, behind))
        bell = Bell.allocate(task)
        self._doorbell = _Doorbell(bell)
        self._peer = card.bells(bell.peer)
        self._out = Producer(out, layout, self._peer.signal)
        self._back = Consumer(back, layout, self._peer.signal)
        self._last = 0
        self._taking = threading.Lock()
        self._came: dict[Stream, deque[bytes]] = {each: deque() for each in Stream}

    def send(self, stream: Stream, data: bytes | memoryview) -> None:
        """Have these bytes sent, as frames; waits for the driver when it is behind."""
        for first in range(0, len(data) or 1, MTU):
            piece = data[first : first + MTU]
            buffer = self._acquire()
            self._last += 1
            start = HEADROOM + len(head(stream, self._last))
            buffer.view[HEADROOM:start] = head(stream, self._last)
            buffer.view[start : start + len(piece)] = piece
            self._out.submit(buffer, start - HEADROOM + len(piece), start=HEADROOM)

    def receive(self, stream: Stream) -> bytes:
        """The data of the next frame of a stream; waits for it. Those of others wait for who receives them."""
        while True:
            with self._taking:
                if self._came[stream]:
                    return self._came[stream].popleft()
                seen = self._doorbell.count
                pieces = self._back.take_nowait(1)
                if pieces:
                    frame = take_apart(bytes(pieces[0].view))
                    self._back.release(*pieces)
                    if frame is not None:
                        self._came[frame.stream].append(frame.data)
                        self._doorbell.ring()
                    continue
                armed = self._back.arm()
            if armed:
                self._doorbell.wait(seen)

    def _acquire(self) -> Buffer:
        while True:
            seen = self._doorbell.count
            buffer = self._out.acquire_nowait()
            if buffer is not None:
                return buffer
            if self._out.arm():
                self._doorbell.wait(seen)
