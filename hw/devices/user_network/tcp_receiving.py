"""What the guest has sent: put in order, and held until the host's socket takes it.

Rules. What the guest is told that we have is written to the host's socket, or lies in the connection's memory, where a
next life of this process finds it. `room` bounds it: a host that does not read closes the guest's window. What came
with a hole before it is in this process alone, and the guest sends it again.
Source: RFC 9293.
"""

from __future__ import annotations

import contextlib
import socket
from typing import Final

from hw.devices.user_network.connection_memory import (
    EXPECTED,
    GUEST_ENDED,
    RING_BYTES,
    THEIR_FIRST,
    TOUCHES,
    Slot,
)
from hw.devices.user_network.tcp_segment import FIN, Segment, ahead, behind

WINDOW: Final = RING_BYTES  # bytes that the guest may be ahead of the host's socket
MOST_EARLY: Final = 16  # segments that are kept until what is before them comes


class Receiving:
    """The receiving side of a connection. What uses the host's socket raises OSError: it has failed.

    Attributes:
        expected: the guest's next sequence number. has_ended: the guest sends no more. pending: bytes that the host's
        socket has not taken.
    """

    def __init__(self, slot: Slot, host: socket.socket) -> None:
        self.expected = 0
        self.has_ended = False
        self.pending = 0
        self._words = slot.words
        self._ring = slot.to_host
        self._host = host
        self._early: dict[int, Segment] = {}  # by sequence number

    def begin(self, first: int) -> None:
        """The guest's first byte will have this number."""
        self.expected = self._words[THEIR_FIRST] = self._words[EXPECTED] = first

    def resume(self, written: int) -> None:
        """As a former life left it, which had written so many bytes to the host. Raises ValueError: that cannot be.

        What it wrote and did not note yet, it did not acknowledge either.
        """
        first, noted = self._words[THEIR_FIRST], self._words[EXPECTED]
        sent = ahead(first, written)
        self.pending = max(0, behind(noted, sent))
        if self.pending > WINDOW or behind(sent, noted) > WINDOW:
            raise ValueError(f"{behind(noted, sent)} bytes are held")
        self.expected = self._words[EXPECTED] = noted if self.pending else sent
        if self._words[GUEST_ENDED]:
            self._ended()

    @property
    def room(self) -> int:
        return WINDOW - self.pending

    def take(self, segment: Segment, distance: int) -> None:
        """A segment with data or an end, which begins so many bytes before what is expected (negative: behind it)."""
        if -WINDOW <= distance < 0 and len(self._early) < MOST_EARLY:
            self._early[segment.sequence] = segment
        self._take_in_order(segment, distance)
        for sequence in sorted(self._early, key=lambda number: behind(number, self.expected)):
            if behind(sequence, self.expected) > 0:
                return
            early = self._early.pop(sequence)
            self._take_in_order(early, behind(self.expected, sequence))

    def write(self) -> bool:
        """Write what is pending. False: some is left."""
        while self.pending:
            data_end = ahead(self.expected, -1) if self.has_ended else self.expected
            count = self._to_host(self._ring.part(ahead(data_end, -self.pending), self.pending))
            if not count:
                return False
            self.pending -= count
        return True

    def end_writing(self) -> None:
        """The guest has ended, and nothing is pending: tell the host."""
        with contextlib.suppress(OSError):  # its peer has reset it: reading tells
            self._host.shutdown(socket.SHUT_WR)

    def forget(self) -> None:
        self.pending = 0
        self._early.clear()

    def _take_in_order(self, segment: Segment, distance: int) -> None:
        data, size = segment.data, len(segment.data)
        if not 0 <= distance <= size or self.has_ended:
            return  # of the past, or with a hole before it
        fresh = data[distance : distance + self.room]
        if fresh:
            self._hold(fresh)
        if segment.flags & FIN and distance + len(fresh) == size:
            self._words[GUEST_ENDED] = 1
            self._ended()

    def _hold(self, fresh: memoryview) -> None:
        """Write it now, or keep it."""
        written = 0 if self.pending else self._to_host(fresh)
        if written < len(fresh):
            self._ring.put(ahead(self.expected, written), fresh[written:])
        self.pending += len(fresh) - written
        self.expected = self._words[EXPECTED] = ahead(self.expected, len(fresh))

    def _to_host(self, data: memoryview) -> int:
        """How many bytes the host's socket has taken; 0: none now. Raises OSError, which `TOUCHES` stands for then."""
        self._words[TOUCHES] = 1
        try:
            count = self._host.send(data)
        except BlockingIOError:
            count = 0
        self._words[TOUCHES] = 0
        return count

    def _ended(self) -> None:
        self.has_ended = True
        self.expected = ahead(self.expected, 1)
        if not self.pending:
            self.end_writing()
