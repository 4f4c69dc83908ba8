"""A client's two rings, and the card's two queues: frames go from one to the other where they lie.

Rules. The memory is the client's: what is read there is copied once and checked by the rings, a header is written by a
guarded access, and frames are never looked at. Where the memory has gone, or the client breaks the rings' rules, the
opening is over (`HostilePeer`, `VMFault`). A buffer that the card has comes back when the card is done, or was reset.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from libsel4py.bulk import Buffer, Consumer, Piece, Producer
from libsel4py.interfaces.ethernet import HEADER_BYTES as ETHERNET_HEADER_BYTES
from libsel4py.interfaces.ethernet import HEADROOM, BadOpening, opening_bytes, receive_offset, ring_layout
from libsel4py.lowlevel.identify import identify
from libsel4py.mapping import map_memory
from libsel4py.virtio import DmaMemory, Segment
from servers.ethernet.card import HEADER_BYTES, NO_HEADER, RECEIVE, SEND, Card

if TYPE_CHECKING:
    from libsel4py.capabilities import Notification
    from libsel4py.dataspace import DataSpace

MOST_ROUNDS: Final = 16  # until others who ask the driver have their turn


class Opening:
    """One.

    Args:
        space: the client's memory, attached. memory: where the card has it.
        wake: the client's bell; None until it has said so, and nothing moves before.
    Raises:
        BadOpening: the memory is too small, or cannot be written; or numbers are out of bounds.
    Attributes:
        sent, received, dropped: frames.
    """

    def __init__(
        self,
        card: Card[Buffer, Piece],
        space: DataSpace,
        memory: DmaMemory,
        numbers: tuple[int, int, int],
        owner: int,
    ) -> None:
        sending, receiving, size = numbers
        mapping = space.mapping
        try:
            needed = opening_bytes(sending, receiving, size)
            if mapping is None or mapping.size < needed or not mapping.writable:
                raise BadOpening(f"the opening needs {needed} bytes of memory that can be written")
            out, back = ring_layout(sending, size), ring_layout(receiving, size)
        except ValueError as error:
            raise BadOpening(str(error)) from error
        self.owner = owner
        self.space = space
        self.memory = memory
        self.sent = self.received = self.dropped = 0
        self._card = card
        self._queues = card.received, card.sent
        self._wake: Notification | None = None
        behind = receive_offset(sending, size)
        self._out_mapping = map_memory(mapping.address, out.size, True)
        self._back_mapping = map_memory(mapping.address + behind, back.size, True)
        self._out = Consumer(self._out_mapping, out, self._ring)
        self._back = Producer(self._back_mapping, back, self._ring)
        self._starts = [out.offset(number) for number in range(sending)]  # of buffers, in the mapping
        self._out_at = [memory.address + start for start in self._starts]
        self._back_at = [
            memory.address + behind + back.offset(number) + HEADROOM - HEADER_BYTES for number in range(receiving)
        ]
        self._room = size - HEADROOM + HEADER_BYTES
        self._lazy = max(1, sending // 2)  # frames that may lie sent without being given back

    @property
    def wake(self) -> Notification | None:
        """The client's bell."""
        return self._wake

    @wake.setter
    def wake(self, wake: Notification) -> None:
        self._wake = wake

    @property
    def is_alive(self) -> bool:
        """Whether its memory is still there."""
        return identify(self.space.frames[0].cptr).type == "FRAME"

    def pump(self) -> bool:
        """Move what can be moved; whether there is more. If not, both sides will say when there is.

        Raises:
            HostilePeer, VMFault: it is the client's fault. HostileDevice: the card's.
        """
        if self._wake is None:
            return False
        received, sent = self._card.received, self._card.sent
        for _ in range(MOST_ROUNDS):
            self._collect()
            self._send()
            self._fill()
            is_asleep = self._out.arm() if sent.free else True
            is_asleep = (self._back.arm() if received.free else True) and is_asleep
            came = received.want_interrupts(True)
            gone = sent.want_interrupts(sent.pending >= self._lazy)
            if is_asleep and not came and not (gone and sent.pending >= self._lazy):
                return False
        return True

    def _collect(self) -> None:
        """What the card has done."""
        used = self._card.received.used()
        if used:
            filled, useless = [], []
            for buffer, written in used:
                length = written - HEADER_BYTES
                if length >= ETHERNET_HEADER_BYTES:
                    filled.append((buffer, length))
                else:
                    useless.append(buffer)
            self._back.submit_all(filled, start=HEADROOM)
            for buffer in useless:
                self._back.give_back(buffer)
            self.received += len(filled)
            self.dropped += len(useless)
            self._card.works()
        gone = self._card.sent.used()
        if gone:
            self._out.release(*[piece for piece, _ in gone])
            self.sent += len(gone)
            self._card.works()

    def _send(self) -> None:
        """What the client has filled goes to the card."""
        queue, starts = self._card.sent, self._starts
        pieces = self._out.take_nowait(queue.free)
        refused = []
        for piece in pieces:
            length = len(piece.view)
            if piece.start < HEADER_BYTES or length < ETHERNET_HEADER_BYTES:
                refused.append(piece)
                continue
            start = piece.start - HEADER_BYTES
            self._out_mapping.write(starts[piece.number] + start, NO_HEADER)
            queue.add((Segment(self._out_at[piece.number] + start, length + HEADER_BYTES),), (), piece)
        if refused:
            self.dropped += len(refused)
            self._out.release(*refused)
        if queue.publish():
            self._card.notify(SEND)

    def _fill(self) -> None:
        """Buffers that the client has given back are where frames will come to."""
        queue = self._card.received
        while queue.free:
            buffer = self._back.acquire_nowait()
            if buffer is None:
                break
            queue.add((), (Segment(self._back_at[buffer.number], self._room),), buffer)
        if queue.publish():
            self._card.notify(RECEIVE)

    def close(self, delete: Callable[[Notification], None]) -> None:
        """Let go of the memory; the card has been reset, and does not reach it any more."""
        for queue in self._queues:
            for each in queue.drain():
                each.view.release()
        self._out.close()
        self._back.close()
        self._out_mapping.release()
        self._back_mapping.release()
        self._card.dma.unmap(self.memory)
        self.space.close()
        wake, self._wake = self._wake, None
        if wake is not None:
            delete(wake)

    def _ring(self) -> None:
        if self._wake is not None:
            self._wake.signal()
