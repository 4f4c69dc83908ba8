"""What the reincarnation server is to look at: kept by root until it says that it has, and so through its own ends.

Rule: root never waits for that server, which calls root. It is signalled, and asks.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from libsel4py.capabilities import Notification
from libsel4py.interfaces.lifecycle import Order, OrderKind

MOST_ORDERS: Final = 1000  # beyond them the oldest are forgotten: whoever gives so many does not wait for any


class Orders:
    """A queue. Without ``bell`` nobody looks at it, and nothing is kept."""

    def __init__(self, bell: Notification | None = None) -> None:
        self._bell = bell
        self._kept: deque[Order] = deque(maxlen=MOST_ORDERS)
        self._last = 0

    def add(self, kind: OrderKind, task: int, status: int = 0, text: str = "") -> None:
        """One more, about the task of this number."""
        if self._bell is None:
            return
        self._last += 1
        self._kept.append(Order(self._last, kind, task, status, text))
        self._bell.signal()

    def after(self, done: int) -> list[Order]:
        """All that are left, once those up to this serial number are forgotten."""
        while self._kept and self._kept[0].serial <= done:
            self._kept.popleft()
        return list(self._kept)

    def take_all(self) -> list[Order]:
        """All, which are forgotten; and those to come are too."""
        self._bell = None
        taken = list(self._kept)
        self._kept.clear()
        return taken
