"""How long it takes until what was hit is there again, from what the system tells."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping

from deploy.chaos.schedule import HANG_MS, Injection
from kerneld.fault_kinds import Fault

_STARTS: tuple[Fault, ...] = (Fault.KILL, Fault.HANG)  # what a task's next life is the recovery of


class Recoveries:
    """Seconds from a fault to its end, by kind. Times are `time.monotonic`'s."""

    def __init__(self) -> None:
        self.seconds: dict[Fault, list[float]] = defaultdict(list)
        self._waiting: dict[str, deque[tuple[Fault, float]]] = defaultdict(deque)

    def injected(self, injection: Injection, now: float) -> None:
        if injection.fault in _STARTS:
            self._waiting[injection.target].append((injection.fault, now))

    def event(self, event: Mapping[str, object], now: float) -> None:
        """The system has told something: a task that has started is there again."""
        if event.get("event") != "started":
            return
        waiting = self._waiting[str(event.get("task"))]
        while waiting:
            fault, since = waiting.popleft()
            if fault is Fault.KILL or now - since <= HANG_MS / 1000:  # who hung longer went on by itself
                self.seconds[fault].append(now - since)

    def kernel_is_back(self, since: float, now: float) -> None:
        self.seconds[Fault.KILL_KERNEL].append(now - since)

    def missing(self) -> dict[str, int]:
        """Tasks that were hit and have not been seen to start since."""
        return {name: len(waiting) for name, waiting in self._waiting.items() if waiting}
