"""The server's side of a network card: frames to and from the driver, by two rings in memory of the server's own.

Rules. Nothing here waits for the driver but `open` and `look`, which have a time limit. Frames for which there is no
buffer wait for one, up to a bound; more are dropped, as a network drops them. The driver may end at any moment: who
made the link is told, and `look` opens anew, which also finds out what nobody has told.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from libsel4py.bell import server_bell
from libsel4py.bulk import Buffer, Consumer, HostilePeer, Producer
from libsel4py.dataspace import DataSpace
from libsel4py.deaths import Watch
from libsel4py.errors import InvalidCapability, KernelError, RemoteError, ServerDied, ServiceError, Timeout
from libsel4py.interface import with_timeout
from libsel4py.interfaces.ethernet import (
    HEADROOM,
    MOST_BUFFERS,
    BadOpening,
    CardState,
    Ethernet,
    buffer_bytes,
    opening_bytes,
    receive_offset,
    ring_layout,
)
from libsel4py.lowlevel.cspace import OutOfSlots
from libsel4py.lowlevel.vspace import OutOfAddresses
from libsel4py.mapping import Mapping, map_memory
from libsel4py.task import Task

if TYPE_CHECKING:
    from typing_extensions import Buffer as Bytes

    from libsel4py.capabilities import Notification

MEMORY_BYTES: Final = 4 << 20  # of one direction, at most
LEAST_BUFFERS: Final = 16
MOST_WAITING_BYTES: Final = 8 << 20  # of frames for which there is no buffer yet
OPEN_SECONDS: Final = 5.0  # until a driver that begins, too, serves
MOST_DEATHS: Final = 16  # of the driver, while it is being opened
LOOK_SECONDS: Final = 0.1  # of all that clients wait meanwhile
MOST_FRAMES: Final = 64  # that are taken in one turn
_log = logging.getLogger(__name__)


class Link:
    """One card.

    Args:
        ended: what to do when the driver has ended. The link is closed by then.
    Attributes:
        is_open: frames go. state: what the driver has told last. dropped: frames for which there was no room.
        received, sent, received_bytes, sent_bytes: frames since the server began.
    """

    def __init__(self, card: Ethernet, task: Task, ended: Callable[[], None] = lambda: None) -> None:
        self._card = with_timeout(card, OPEN_SECONDS)
        self._looked_at = with_timeout(card, LOOK_SECONDS)
        self._task = task
        self._ended = ended
        self._life: Watch | None = None
        self.is_open = False
        self.state: CardState | None = None
        self.dropped = self.received = self.sent = self.received_bytes = self.sent_bytes = 0
        self._space: DataSpace | None = None
        self._mappings: list[Mapping] = []
        self._rings: list[Producer | Consumer] = []
        self._peer: Notification | None = None
        self._filled: list[tuple[Buffer, int]] = []
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._room = 0

    def open(self) -> CardState:
        """Open the card; anew, if the driver ends meanwhile.

        Raises ServiceError, ServerDied, Timeout, RemoteError: it cannot be opened now.
        """
        for _ in range(MOST_DEATHS):
            try:
                return self._open()
            except (ServerDied, BadOpening) as error:  # by the driver's next life, that knows nothing of this opening
                _log.warning("the card's driver ended while it was being opened: %s", error)
        return self._open()

    def _open(self) -> CardState:
        self.close()
        self._watch()  # first: whose opening this will be, if that ends between the two, is told of as well
        state = self.state = self._card.state()
        size = buffer_bytes(state.mtu)
        count = max(LEAST_BUFFERS, min(MOST_BUFFERS, MEMORY_BYTES // size))
        space = self._space = DataSpace.allocate(_in_few_frames(opening_bytes(count, count, size)), self._task)
        mapping = space.attach()
        shared = space.share()
        try:
            self._card.open(shared, count, count, size)
        finally:
            space.drop(shared)
        layout, behind = ring_layout(count, size), receive_offset(count, size)
        out, back = (map_memory(mapping.address + at, layout.size, True) for at in (0, behind))
        self._mappings = [out, back]
        self._room = size - HEADROOM
        self._out = Producer(out, layout, self._ring)
        self._back = Consumer(back, layout, self._ring)
        self._rings = [self._out, self._back]
        bell = server_bell(self._task)
        try:
            self._peer = self._card.bells(bell)
        finally:
            self._task.delete(bell)
        self.is_open = True
        return state

    def _watch(self) -> None:
        """Be told of the driver's end. Raises ServerDied: it has ended since."""
        life = self._card.life()
        try:
            self._life = self._task.deaths.watch(life, lambda death: self._died())
        except InvalidCapability as error:
            raise ServerDied("the card's driver has ended since") from error
        finally:
            self._task.delete(life)

    def _died(self) -> None:
        self._life = None
        self.close()
        self._ended()

    def look(self) -> bool:
        """See after the driver, and open the card again if need be; whether that was done.

        A driver that does not answer in time is busy, or begins: nothing is done about it now. Frames that it does not
        take are lost, as on a wire.

        Raises as `open`, and ServerDied also where the driver was given up, or there is nothing for its rings; the link
        is closed then.
        """
        try:
            try:
                state = self._looked_at.state()
            except Timeout:
                return False
            if state.is_open and self.is_open:
                self.state = state
                return False
            self.open()
        except (ServiceError, RemoteError, ServerDied, Timeout):
            self.close()
            raise
        except (KernelError, OutOfSlots, OutOfAddresses) as error:
            self.close()
            raise ServerDied(f"the card cannot be opened: {error}") from error
        return True

    def transmit(self, frame: bytes) -> None:
        """Have a frame sent by the next `flush`; it waits if there is no buffer, and is dropped if too many wait."""
        if not self.is_open or len(frame) > self._room or self._waiting_bytes > MOST_WAITING_BYTES:
            self.dropped += 1
            return
        self.sent += 1
        self.sent_bytes += len(frame)
        if self._waiting or not self._fill(frame):
            self._waiting.append(frame)
            self._waiting_bytes += len(frame)

    def flush(self) -> None:
        """Let the driver see what is to be sent. If there are too few buffers it will ring when some are free."""
        while True:
            while self._waiting and self._fill(self._waiting[0]):
                self._waiting_bytes -= len(self._waiting.popleft())
            if self._filled:
                filled, self._filled = self._filled, []
                self._out.submit_all(filled, start=HEADROOM)
            if not self._waiting or not self.is_open or self._out.arm():
                return

    def _fill(self, frame: bytes) -> bool:
        """Put a frame into a buffer; whether there was one."""
        buffer = self._acquire() if self.is_open else None
        if buffer is None:
            return False
        buffer.view[HEADROOM : HEADROOM + len(frame)] = frame
        self._filled.append((buffer, len(frame)))
        return True

    def receive(self, take: Callable[[Bytes], None]) -> bool:
        """Hand on frames that came, up to `MOST_FRAMES`; whether there may be more.

        If there are none, the driver will ring when one comes. A driver that breaks the rings' rules is as one that
        has ended.
        """
        if not self.is_open:
            return False
        try:
            return self._receive(take)
        except HostilePeer as error:
            _log.error("the card's driver breaks the rings' rules: %s", error)
        self.close()  # here, where no traceback holds views of the memory any more
        return False

    def _receive(self, take: Callable[[Bytes], None]) -> bool:
        pieces = self._back.take_nowait(MOST_FRAMES)
        if not pieces:
            return not self._back.arm()
        for piece in pieces:
            self.received_bytes += len(piece.view)
            take(piece.view)
        self.received += len(pieces)
        self._back.release(*pieces)
        return True

    def close(self) -> None:
        """Let go of the card's memory; the driver finds out."""
        life, self._life = self._life, None
        if life is not None:
            life.cancel()
        if self.is_open:
            self.is_open = False
            for buffer, _ in self._filled:
                buffer.view.release()
            self._filled.clear()
            self._waiting.clear()
            self._waiting_bytes = 0
        for ring in self._rings:
            ring.close()
        self._rings.clear()
        for mapping in self._mappings:
            mapping.release()
        self._mappings.clear()
        space, self._space = self._space, None
        if space is not None:
            space.close()
        peer, self._peer = self._peer, None
        if peer is not None:
            self._task.delete(peer)

    def _acquire(self) -> Buffer | None:
        try:
            return self._out.acquire_nowait()
        except HostilePeer as error:
            _log.error("the card's driver breaks the rings' rules: %s", error)
        self.close()
        return None

    def _ring(self) -> None:
        if self._peer is not None:
            self._peer.signal()


def _in_few_frames(size: int) -> int:
    """So many bytes and up to a quarter more: one frame, most often, or two, where the exact size takes up to eight.

    Each is a handful of system calls here and at the driver, and clients wait for them when the server begins.
    """
    step = 1 << max(0, size.bit_length() - 2)
    return -(-size // step) * step
