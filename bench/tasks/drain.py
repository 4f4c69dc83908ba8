# mypy: disable-error-code="empty-body"
"""The consumer of bulk transfers, and who is handed memory."""

from __future__ import annotations

from libsel4py import Interface, Notification, component, oneway
from libsel4py.abi import Rights
from libsel4py.bell import Bell
from libsel4py.bulk import Consumer, Layout
from libsel4py.dataspace import DataSpace, SharedMemory

PATIENCE = 30.0  # seconds


class Drain(Interface):
    """Takes what comes."""

    def open(self, memory: SharedMemory, buffers: int, buffer_bytes: int) -> Notification:
        """Be the consumer of a ring in this memory; the bell to wake it by."""

    def use_bell(self, bell: Notification) -> None:
        """By which to wake the producer."""

    @oneway
    def take(self, pieces: int) -> None:
        """Take so many, look at the first and the last byte of each, give them back."""

    def taken(self) -> int:
        """How many were taken by the last `take`: answered when it is over."""

    def close(self) -> None: ...

    def touch(self, memory: SharedMemory) -> int:
        """Attach memory, read its first and its last byte, and let it go: their sum."""

    def keep(self, memory: SharedMemory) -> None:
        """Attach memory, for `turn`."""

    def turn(self) -> int:
        """It is the server's turn: read the memory's first and last byte, change the first, and give it back."""

    def leave(self) -> None:
        """Let go of what was kept."""

    def hold(self, memory: SharedMemory) -> None:
        """Be given memory, and let it go."""


@component
class Main(Drain):
    """Drains."""

    def open(self, memory: SharedMemory, buffers: int, buffer_bytes: int) -> Notification:
        self._space = DataSpace.receive(memory)
        self._layout, self._bell = Layout(buffers, buffer_bytes), Bell.allocate()
        return self._bell.peer

    def use_bell(self, bell: Notification) -> None:
        self._peer = bell
        self._ring = Consumer(self._space.attach(), self._layout, bell.signal, self._bell.wait)

    def take(self, pieces: int) -> None:
        ring, left = self._ring, pieces
        while left:
            found = ring.take(PATIENCE)
            for piece in found:
                view = piece.view
                view[0] + view[-1]
                ring.release(piece)
            left -= len(found)
        self._taken = pieces

    def taken(self) -> int:
        return self._taken

    def close(self) -> None:
        self._ring.close()
        self._space.close()
        self._bell.close()
        self.task.delete(self._peer)

    def touch(self, memory: SharedMemory) -> int:
        with DataSpace.receive(memory) as space, memoryview(space.attach(Rights.READ)) as view:
            return view[0] + view[-1]

    def keep(self, memory: SharedMemory) -> None:
        self._kept = DataSpace.receive(memory)
        self._view = memoryview(self._kept.attach())

    def turn(self) -> int:
        view = self._view
        view[0] = view[0] + 1 & 255
        return view[0] + view[-1]

    def leave(self) -> None:
        self._view.release()
        self._kept.close()

    def hold(self, memory: SharedMemory) -> None:
        self.task.delete(memory)
