"""How long it takes until what was hit is there again, from what the system tells.

Rules. A task that has another process than the one that was hit is there again. The system tells of each start as it
comes; but a kernel that is killed tells nobody, nor does its successor, of what started meanwhile, and who listens
needs a moment to hear that one. So the table of tasks is looked at as well (`looked`), while anything is waited for.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from deploy.chaos.schedule import HANG_MS, Injection
from kerneld.fault_kinds import Fault

_STARTS: tuple[Fault, ...] = (Fault.KILL, Fault.HANG)  # what a task's next life is the recovery of


@dataclass(frozen=True, slots=True)
class Recovery:
    """One that was seen. ``number`` is the injection's; empty target: the kernel."""

    number: int
    fault: Fault
    target: str
    seconds: float


@dataclass(frozen=True, slots=True)
class _Hit:
    number: int
    fault: Fault
    pid: int
    since: float


class Recoveries:
    """What came back, and what is waited for. Times are `time.monotonic`'s."""

    def __init__(self) -> None:
        self.seen: list[Recovery] = []
        self._waiting: dict[str, deque[_Hit]] = defaultdict(deque)

    def seconds(self, fault: Fault) -> list[float]:
        """How long each took, of this kind."""
        return [each.seconds for each in self.seen if each.fault is fault]

    @property
    def waits(self) -> bool:
        """Whether something that was hit has not been seen to be there again."""
        return any(self._waiting.values())

    def injected(self, injection: Injection, pid: int, now: float) -> None:
        """A fault took effect, on this process."""
        if injection.fault in _STARTS:
            self._waiting[injection.target].append(_Hit(injection.number, injection.fault, pid, now))

    def event(self, event: Mapping[str, object], now: float) -> None:
        """The system has told something: a task that has started is there again."""
        if event.get("event") == "started":
            self._is_there(str(event.get("task")), event.get("pid"), now)

    def looked(self, rows: Sequence[Mapping[str, object]], now: float) -> None:
        """The system has told which processes there are, as `ps` does."""
        for row in rows:
            if row.get("pid") and not row.get("thread") and row.get("state") != "ENDING":
                self._is_there(str(row.get("name")), row.get("pid"), now)

    def kernel_is_back(self, injection: Injection, since: float, now: float) -> None:
        self.seen.append(Recovery(injection.number, injection.fault, "", now - since))

    def missing(self) -> dict[str, int]:
        """Tasks that were hit and have not been seen to start since."""
        return {name: len(waiting) for name, waiting in self._waiting.items() if waiting}

    def _is_there(self, name: str, pid: object, now: float) -> None:
        kept: deque[_Hit] = deque()
        for hit in self._waiting.get(name, ()):
            went_on = hit.fault is Fault.HANG and now - hit.since > HANG_MS / 1000
            if hit.pid == pid and not went_on:
                kept.append(hit)
            elif not went_on:
                self.seen.append(Recovery(hit.number, hit.fault, name, now - hit.since))
        if kept or name in self._waiting:
            self._waiting[name] = kept
