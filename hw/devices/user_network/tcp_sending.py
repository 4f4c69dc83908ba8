"""What a connection has sent to the guest and not been told of: kept until it is, and sent again if need be.

The bytes lie in the connection's memory, where a next life of this process finds them; who sends puts them there.

The link loses nothing, so there is no congestion control, and retransmission is a safety: a segment that is three times
asked for, or that nobody acknowledges for a while, goes out again, and those behind it as acknowledgements come. The
wait doubles with each second try: a guest whose queue of connections was full has room again soon.

Source: RFC 9293, 6582. Sequence numbers modulo 2**32.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from hw.devices.user_network.connection_memory import ACKNOWLEDGED, OUR_FIRST, RING_BYTES, WINDOW, Slot
from hw.devices.user_network.tcp_segment import ACK, FIN, PSH, ahead, behind
from hw.iommu import Buffer

MOST_IN_FLIGHT: Final = RING_BYTES
MOST_TRIES: Final = 13  # the last of them 40 s after the first; then 8 s more
RETRY_SECONDS: Final = 0.25  # as short as Linux's: what was lost is a queue that was full, or a driver that has died
LONGEST_RETRY: Final = 8.0
_DUPLICATES: Final = 3

Send = Callable[[int, int, Buffer], None]  # sequence, flags, data


class Sending:
    """The sending side of a connection, from its first sequence number on.

    Attributes:
        first: the oldest number that was not acknowledged. next: of the next byte. window: what the guest takes, from
        ``first`` on. deadline: when to call `expired`, by the caller's clock; None for never.
    """

    def __init__(self, first: int, send: Send, slot: Slot) -> None:
        self.first = self.next = first
        self.deadline: float | None = None
        self._send = send
        self._words = slot.words
        self._ring = slot.to_guest
        self._kept: deque[tuple[int, int, int]] = deque()  # sequence, flags, bytes of data
        self._duplicates = 0
        self._recover: int | None = None
        self._tries = 0
        self._window = 0

    def begin(self) -> None:
        """Note what a next life must know, before anything is sent."""
        self._words[OUR_FIRST] = ahead(self.first, 1)  # the SYN has the number before it
        self._words[ACKNOWLEDGED] = self.first
        self._words[WINDOW] = self._window

    @classmethod
    def resumed(cls, send: Send, slot: Slot, size: int, most: int, has_ended: bool, now: float) -> Sending:
        """As a former life left it, which had read ``size`` bytes for the guest; ``most`` of them go in a segment.

        Raises ValueError: that cannot be.
        """
        words = slot.words
        begin, acknowledged, window = words[OUR_FIRST], words[ACKNOWLEDGED], words[WINDOW]
        end = ahead(begin, size)
        left = behind(end, acknowledged)
        if left > MOST_IN_FLIGHT or left < (-1 if has_ended else 0):
            raise ValueError(f"{left} bytes are on their way")
        made = cls(ahead(begin, -1), send, slot)
        made.first = made.next = acknowledged
        made.window = window
        while behind(end, made.next) > 0:
            part = len(made.space(min(most, behind(end, made.next))))
            made._keep(ACK | PSH, part, part, now)
        if has_ended and left >= 0:
            made._keep(FIN | ACK, 0, 1, now)
        return made

    @property
    def window(self) -> int:
        return self._window

    @window.setter
    def window(self, size: int) -> None:
        self._window = self._words[WINDOW] = size

    @property
    def in_flight(self) -> int:
        return behind(self.next, self.first)

    @property
    def room(self) -> int:
        """How many bytes may be sent now."""
        return max(0, min(self._window, MOST_IN_FLIGHT) - self.in_flight)

    def space(self, most: int) -> memoryview:
        """Where the next bytes are to be put: at most so many, which are not more than `room`."""
        return self._ring.part(self.next, most)

    def send_bytes(self, size: int, now: float) -> None:
        """Send what was put into `space`."""
        sequence = self.next
        self._keep(ACK | PSH, size, size, now)
        self._send(sequence, ACK | PSH, self._ring.part(sequence, size))

    def send_mark(self, flags: int, now: float) -> None:
        """Send a SYN or FIN."""
        sequence = self.next
        self._keep(flags, 0, 1, now)
        self._send(sequence, flags, b"")

    def acknowledge(self, number: int, now: float) -> bool:
        """The guest has all before ``number``. False: it cannot have."""
        fresh = behind(number, self.first)
        if fresh > self.in_flight:
            return False
        if fresh <= 0:
            self._tries = 0  # it is there, and may have no room
            return True
        self.first = self._words[ACKNOWLEDGED] = number
        while self._kept and behind(self._end_of_oldest(), number) <= 0:
            self._kept.popleft()
        self._duplicates = self._tries = 0
        self.deadline = now + RETRY_SECONDS if self._kept else None
        if self._recover is not None:
            if behind(number, self._recover) >= 0:
                self._recover = None
            else:
                self._again()
        return True

    def duplicate(self) -> None:
        """The guest says again what it has said."""
        if not self._kept:
            return
        self._duplicates += 1
        if self._duplicates == _DUPLICATES and self._recover is None:
            self._recover = self.next
            self._again()

    def expired(self, now: float) -> bool:
        """The deadline has come: send again. False: it was tried often enough."""
        self._tries += 1
        if self._tries > MOST_TRIES:
            return False
        if self._kept:
            self.repeat()
            self.deadline = now + min(LONGEST_RETRY, RETRY_SECONDS * (1 << self._tries // 2))
        else:
            self.deadline = None
        return True

    def repeat(self) -> None:
        """Send again what was not acknowledged: the oldest of it now, the others as acknowledgements come."""
        if self._kept:
            self._recover = self.next
            self._again()

    def _keep(self, flags: int, data_bytes: int, size: int, now: float) -> None:
        self._kept.append((self.next, flags, data_bytes))
        self.next = ahead(self.next, size)
        if self.deadline is None:
            self.deadline = now + RETRY_SECONDS

    def _end_of_oldest(self) -> int:
        return self._kept[1][0] if len(self._kept) > 1 else self.next

    def _again(self) -> None:
        sequence, flags, size = self._kept[0]
        self._send(sequence, flags, self._ring.part(sequence, size))
