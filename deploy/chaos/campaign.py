"""One run of faults against one system: injects, watches, and sums up.

The system is one that was started for it. A run ends after its time or its number of faults, then waits until all that
was running runs again, checks the kernel's invariants, and takes the system down.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from deploy.chaos.injector import Injector
from deploy.chaos.recoveries import Recoveries, percentile
from deploy.chaos.schedule import Fault, Injection, schedule
from deploy.chaos.workloads import Counts, HostWorkload, TaskWorkloads
from deploy.management import Listener, Management, ManagementError, NotAnswering
from libsel4py.description import Restart, System
from libsel4py.workload import REPORT_SECONDS

KERNEL_SECONDS: Final = 20.0  # a kernel that is not back by then is lost
SETTLE_SECONDS: Final = 30.0  # what was hit last may hang for as long as its supervisor waits
COUNTS_SECONDS: Final = 3 * REPORT_SECONDS
ANSWER_SECONDS: Final = 2.0
SHOW_SECONDS: Final = 0.5
KEPT_SKIPS: Final = 5


@dataclass(frozen=True)
class Plan:
    """What a run is to do. It ends after ``seconds`` or after ``count`` faults, what comes first."""

    faults: tuple[Fault, ...]
    rate: float
    seed: int
    seconds: float
    count: int | None = None
    targets: tuple[str, ...] = ()


@dataclass
class Outcome:
    """What a run has seen so far; at its end all of it."""

    plan: Plan
    started: float
    injected: Counter[Fault] = field(default_factory=Counter)
    skipped: Counter[Fault] = field(default_factory=Counter)
    skips: list[str] = field(default_factory=list)
    recoveries: Recoveries = field(default_factory=Recoveries)
    workloads: dict[str, Counts] = field(default_factory=dict)
    host: dict[str, object] | None = None
    violations: list[object] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    lost: str = ""  # why there is no system any more
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Nothing that must hold was violated. Errors that a client was told of may have been."""
        wrong = any(counts.wrong for counts in self.workloads.values())
        failed = bool(self.host and self.host["failed"])
        return not (wrong or failed or self.violations or self.missing or self.lost)

    def plain(self) -> dict[str, object]:
        """As a program reads it; times in milliseconds."""
        return {
            "ok": self.ok,
            "seed": self.plan.seed,
            "rate": self.plan.rate,
            "seconds": round(self.seconds, 3),
            "injected": sum(self.injected.values()),
            "faults": {fault.value: self._fault(fault) for fault in self.plan.faults},
            "skips": self.skips,
            "workloads": {name: counts.plain() for name, counts in sorted(self.workloads.items())},
            "host_workload": self.host,
            "violations": self.violations,
            "missing": self.missing,
            "lost": self.lost,
        }

    def _fault(self, fault: Fault) -> dict[str, object]:
        told: dict[str, object] = {"injected": self.injected[fault], "skipped": self.skipped[fault]}
        if seconds := self.recoveries.seconds.get(fault):
            told["recovered"] = len(seconds)
            for name, share in (("p50_ms", 0.5), ("p99_ms", 0.99), ("max_ms", 1.0)):
                told[name] = round(percentile(seconds, share) * 1000, 2)
        return told


class Campaign:
    """Runs a plan against the system whose runtime folder is ``folder``."""

    def __init__(self, system: System, plan: Plan, folder: Path, host: HostWorkload | None = None) -> None:
        self._system = system
        self._plan = plan
        self._folder = folder
        self._host = host
        self._tasks = TaskWorkloads(folder / "logs")
        self._shown = 0.0
        self.outcome = Outcome(plan, time.monotonic())

    def run(self, show: Callable[[Outcome], None]) -> Outcome:
        """Do it. ``show`` is called now and then with what was seen so far.

        Raises:
            NoTarget: the system has nothing that one of the faults could hit; nothing was done.
        """
        outcome = self.outcome
        coming = schedule(self._system, self._plan.faults, self._plan.rate, self._plan.seed, self._plan.targets)
        with self._joined() as (management, listener):
            injector = Injector(management)
            try:
                for injection in self._due(coming):
                    self._listen(listener, outcome.started + injection.at, show)
                    self._inject(injector, injection)
                self._settle(management, listener, show)
                found = management.request("fsck")
                outcome.violations = found if isinstance(found, list) else [found]
            except ManagementError as error:
                outcome.lost = str(error)
            outcome.seconds = time.monotonic() - outcome.started
            self._count()
        return outcome

    @contextmanager
    def _joined(self) -> Iterator[tuple[Management, Listener]]:
        with ExitStack() as stack:
            management = stack.enter_context(Management(self._folder, ANSWER_SECONDS))
            yield management, stack.enter_context(management.listen())

    def _due(self, coming: Iterator[Injection]) -> Iterator[Injection]:
        for injection in coming:
            if injection.at > self._plan.seconds or injection.number == self._plan.count:
                return
            yield injection

    def _inject(self, injector: Injector, injection: Injection) -> None:
        outcome, now = self.outcome, time.monotonic()
        try:
            reason = injector.carry_out(injection)
        except NotAnswering as error:
            reason = str(error)
        if reason is None:
            outcome.injected[injection.fault] += 1
            outcome.recoveries.injected(injection, now)
            if injection.fault is Fault.KILL_KERNEL:
                self._wait_for_kernel(now)
        else:
            outcome.skipped[injection.fault] += 1
            if len(outcome.skips) < KEPT_SKIPS:
                outcome.skips.append(f"{injection.fault.value} {injection.target}: {reason}")

    def _wait_for_kernel(self, since: float) -> None:
        with Management(self._folder, KERNEL_SECONDS) as management:
            management.request("status")
        self.outcome.recoveries.kernel_is_back(since, time.monotonic())

    def _listen(self, listener: Listener, until: float, show: Callable[[Outcome], None]) -> None:
        """Take what the system tells until that time; once at least, so that nothing piles up."""
        while True:
            left = until - time.monotonic()
            event = listener.next(min(max(left, 0), SHOW_SECONDS))
            now = time.monotonic()
            if event is not None:
                self.outcome.recoveries.event(event, now)
            if now - self._shown >= SHOW_SECONDS:
                self._shown = now
                self._count()
                show(self.outcome)
            if event is None and now >= until:
                return

    def _count(self) -> None:
        self.outcome.workloads = self._tasks.counts()
        if self._host is not None:
            self._host.look()
            self.outcome.host = self._host.plain()

    def _settle(self, management: Management, listener: Listener, show: Callable[[Outcome], None]) -> None:
        """Wait until all that should run does."""
        expected = {task.name for task in self._system.tasks if task.restart is Restart.ALWAYS}
        until = time.monotonic() + SETTLE_SECONDS
        while missing := expected - self._running(management):
            if time.monotonic() >= until:
                break
            self._listen(listener, min(until, time.monotonic() + SHOW_SECONDS / 5), show)
        self.outcome.missing = sorted(missing)
        self._wait_for_counts(listener, show)

    def _wait_for_counts(self, listener: Listener, show: Callable[[Outcome], None]) -> None:
        """Wait until each workload has told of what came after the last fault; one that does not is not waited for."""
        self._count()
        before = {name: counts.attempts for name, counts in self.outcome.workloads.items()}
        until = time.monotonic() + COUNTS_SECONDS
        while time.monotonic() < until:
            self._listen(listener, min(until, time.monotonic() + SHOW_SECONDS / 5), show)
            self._count()
            if all(self.outcome.workloads[name].attempts > count for name, count in before.items()) and before:
                return

    def _running(self, management: Management) -> set[str]:
        rows = management.request("ps")
        assert isinstance(rows, list)
        return {str(row["name"]) for row in rows if row["state"] not in ("ENDING", "HELD", "INACTIVE")}
