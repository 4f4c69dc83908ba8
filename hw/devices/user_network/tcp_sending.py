"""What a connection has sent to the guest and not been told of: kept until it is, and sent again if need be.

The link loses nothing, so there is no congestion control, and retransmission is a safety: a segment that is three times
asked for, or that nobody acknowledges for a while, goes out again, and those behind it as acknowledgements come. The
wait doubles with each second try: a guest whose queue of connections was full has room again soon.

Source: RFC 9293, 6582. Sequence numbers modulo 2**32.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from hw.devices.user_network.tcp_segment import ahead, behind

MOST_IN_FLIGHT: Final = 1 << 20  # bytes
MOST_TRIES: Final = 13  # the last of them 40 s after the first; then 8 s more
RETRY_SECONDS: Final = 0.25  # as short as Linux's: what was lost is a queue that was full, or a driver that has died
LONGEST_RETRY: Final = 8.0
_DUPLICATES: Final = 3

Send = Callable[[int, int, bytes], None]  # sequence, flags, data


class Sending:
    """The sending side of a connection, from its first sequence number on.

    Attributes:
        first: the oldest number that was not acknowledged. next: of the next byte. window: what the guest takes, from
        ``first`` on. deadline: when to call `expired`, by the caller's clock; None for never.
    """

    def __init__(self, first: int, send: Send) -> None:
        self.first = self.next = first
        self.window = 0
        self.deadline: float | None = None
        self._send = send
        self._kept: deque[tuple[int, int, bytes]] = deque()  # sequence, flags, data
        self._duplicates = 0
        self._recover: int | None = None
        self._tries = 0

    @property
    def in_flight(self) -> int:
        return behind(self.next, self.first)

    @property
    def room(self) -> int:
        """How many bytes may be sent now."""
        return max(0, min(self.window, MOST_IN_FLIGHT) - self.in_flight)

    def send(self, flags: int, data: bytes, size: int, now: float) -> None:
        """Send what takes ``size`` sequence numbers."""
        self._kept.append((self.next, flags, data))
        self._send(self.next, flags, data)
        self.next = ahead(self.next, size)
        if self.deadline is None:
            self.deadline = now + RETRY_SECONDS

    def acknowledge(self, number: int, now: float) -> bool:
        """The guest has all before ``number``. False: it cannot have."""
        fresh = behind(number, self.first)
        if fresh > self.in_flight:
            return False
        if fresh <= 0:
            self._tries = 0  # it is there, and may have no room
            return True
        self.first = number
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

    def _end_of_oldest(self) -> int:
        return self._kept[1][0] if len(self._kept) > 1 else self.next

    def _again(self) -> None:
        self._send(*self._kept[0])
