"""What waits until memory that is being taken away is gone.

Each taking away has a place in the order in which they were begun. Who waits, waits for those begun before, and not for
those that begin meanwhile, so a stream of them keeps nobody for ever.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Hashable


class Barrier:
    """The takings away that have begun and not ended, each by a key of its own."""

    def __init__(self) -> None:
        self._begun: OrderedDict[Hashable, int] = OrderedDict()
        self._parts: Counter[Hashable] = Counter()
        self._last = 0
        self._waiting: deque[tuple[int, Callable[[], None]]] = deque()

    def __len__(self) -> int:
        return len(self._begun)

    def begin(self, key: Hashable) -> None:
        """One begins; or a further part of one that is under way."""
        self._parts[key] += 1
        if key not in self._begun:
            self._last += 1
            self._begun[key] = self._last

    def end(self, key: Hashable) -> None:
        """A part of it is done, or need not be done any more."""
        self._parts[key] -= 1
        if self._parts[key]:
            return
        del self._parts[key], self._begun[key]
        while self._waiting and (not self._begun or next(iter(self._begun.values())) > self._waiting[0][0]):
            self._waiting.popleft()[1]()

    def wait(self, then: Callable[[], None]) -> bool:
        """Call `then` once all that have begun so far are done. False, and no call, if that is so now."""
        if not self._begun:
            return False
        self._waiting.append((self._last, then))
        return True
