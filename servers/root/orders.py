"""What the reincarnation server is to look at: kept by root until it says that it has, and so through its own ends.

Rule: root never waits for that server, which calls root. It is signalled, and asks. What it need not do anything about
it is signalled of a little later: the processors are the next life's until then, which some clients wait for.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Final

from libsel4py.capabilities import Notification
from libsel4py.interfaces.lifecycle import FOREVER, Order, OrderKind

MOST_ORDERS: Final = 1000  # beyond them the oldest are forgotten: whoever gives so many does not wait for any
LATER_SECONDS: Final = 0.005


class Orders:
    """A queue. Without ``bell`` nobody looks at it, and nothing is kept.

    Attributes:
        next_due: the moment of its clock for `ring`; FOREVER if there is none.
    """

    def __init__(self, bell: Notification | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._bell = bell
        self._clock = clock
        self.next_due = FOREVER
        self._kept: deque[Order] = deque(maxlen=MOST_ORDERS)
        self._last = 0
        self._looked = 0  # serial number of the last one that there was at the last look

    def add(self, kind: OrderKind, task: int, status: int = 0, text: str = "") -> None:
        """One more, about the task of this number."""
        if self._bell is None:
            return
        self._keep(kind, task, status, text)
        self.ring()

    def tell_later(self, kind: OrderKind, task: int, status: int, text: str, at: float) -> None:
        """One more, of what was done at that moment."""
        if self._bell is not None:
            self._keep(kind, task, status, text, at)
            self.next_due = min(self.next_due, self._clock() + LATER_SECONDS)

    def ring(self) -> None:
        """Signal who is to look."""
        self.next_due = FOREVER
        if self._bell is not None:
            self._bell.signal()

    def _keep(self, kind: OrderKind, task: int, status: int, text: str, at: float = 0.0) -> None:
        self._last += 1
        self._kept.append(Order(self._last, kind, task, status, text, at))

    def after(self, done: int) -> list[Order]:
        """All that are left, once those up to this serial number are forgotten."""
        while self._kept and self._kept[0].serial <= done:
            self._kept.popleft()
        self.next_due = FOREVER
        return list(self._kept)

    def look(self, done: int) -> list[Order]:
        """`after`, of who is to look at them: it knows of these from now on."""
        self._looked = self._last
        return self.after(done)

    def forget_restart(self, task: int) -> bool:
        """Whether it was started again, and nobody has looked since: what is told of its former life voids that."""
        unknown = [
            each
            for each in self._kept
            if each.task == task and each.kind is OrderKind.RESTARTED and each.serial > self._looked
        ]
        for each in unknown:
            self._kept.remove(each)
        return bool(unknown)

    def forget_failure(self, task: int) -> None:
        """Its end was told by another way, and is seen to."""
        self._kept = deque(
            (each for each in self._kept if each.task != task or each.kind is not OrderKind.FAILED), MOST_ORDERS
        )

    def take_all(self) -> list[Order]:
        """All, which are forgotten; and those to come are too."""
        self._bell, self.next_due = None, FOREVER
        taken = list(self._kept)
        self._kept.clear()
        return taken
