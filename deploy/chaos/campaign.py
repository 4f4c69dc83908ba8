"""One run of faults against one system: injects, watches, and sums up.

The system is one that was started for it. A run ends after its time or its number of faults, then waits until all that
was running runs again, checks the kernel's invariants, and takes the system down.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from deploy.chaos.injector import Injector
from deploy.chaos.recoveries import Recoveries, Recovery
from deploy.chaos.schedule import CHANGES_BITS, Injection, schedule, standing_on
from deploy.chaos.workloads import Counts, HostWorkload, TaskWorkloads
from deploy.management import Listener, Management, ManagementError, NotAnswering, Refused
from deploy.runtime import running
from kerneld.fault_kinds import Fault
from libsel4py.description import Restart, System
from libsel4py.workload import bucket, percentile

KERNEL_SECONDS: Final = 20.0  # a kernel that is not back by then is lost
SETTLE_SECONDS: Final = 30.0  # what was hit last may hang for as long as its supervisor waits
COUNTS_SECONDS: Final = SETTLE_SECONDS  # a workload that tells nothing for so long is stalled
ANSWER_SECONDS: Final = 2.0
SHOW_SECONDS: Final = 0.5
LOOK_SECONDS: Final = 0.25  # between two looks at what is there, while something that was hit is not seen to be
# What is away for so much longer than its policy waits was not started again for it; a busy host makes it some seconds.
LATE_SECONDS: Final = 20.0
MOST_SLOWEST: Final = 5
KEPT_SKIPS: Final = 5
MOST_GROWTH: Final = 200  # of open descriptors: channels come and go, and so do what the kernel keeps for a while


@dataclass(frozen=True)
class Plan:
    """What a run is to do. It ends after ``seconds``, or after ``count`` faults that took effect, what comes first."""

    faults: Mapping[Fault, float]  # each with its weight
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
    system: str = ""
    injected: Counter[Fault] = field(default_factory=Counter)
    skipped: Counter[Fault] = field(default_factory=Counter)
    skips: list[str] = field(default_factory=list)
    recoveries: Recoveries = field(default_factory=Recoveries)
    patience: dict[str, float] = field(default_factory=dict)  # seconds that a task's policy may let it wait
    workloads: dict[str, Counts] = field(default_factory=dict)
    host: dict[str, object] | None = None
    violations: list[object] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    stalled: list[str] = field(default_factory=list)  # workloads that did nothing after the last fault
    exposed: frozenset[str] = frozenset()  # tasks that were hit by a changed bit, and who stands on them
    descriptors: dict[str, list[int]] = field(default_factory=dict)  # open ones by process: before, after
    hidden: list[str] = field(default_factory=list)  # processes whose descriptors the host does not show to this user
    disks: list[str] = field(default_factory=list)  # images that began empty with the run
    lost: str = ""  # why there is no system any more
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Nothing that must hold was violated. Errors that a client was told of may have been."""
        failed = bool(self.host and self.host["failed"])
        grown = any(after > before + MOST_GROWTH for before, after in self.descriptors.values())
        broken = self.violations or self.missing or self.stalled or self.late or self.lost
        return not (self.wrong or failed or grown or broken)

    @property
    def checks(self) -> int:
        """Answers that workloads looked at."""
        return sum(counts.checks for counts in self.workloads.values())

    @property
    def kept_checks(self) -> int:
        """Those of them about what a server had acknowledged: whether it is still there."""
        return sum(counts.kept_checks for counts in self.workloads.values())

    @property
    def wrong(self) -> int:
        """Checks that did not hold, and no changed bit explains it."""
        return sum(counts.wrong for name, counts in self.workloads.items() if not self._is_exposed(name))

    @property
    def damaged(self) -> int:
        """Checks that did not hold of workloads which stand on a task whose bits were changed."""
        return sum(counts.wrong for name, counts in self.workloads.items() if self._is_exposed(name))

    @property
    def data_lost(self) -> int:
        """Acknowledged values that were not there any more, and no changed bit explains it."""
        return sum(counts.lost for name, counts in self.workloads.items() if not self._is_exposed(name))

    @property
    def client_errors(self) -> int:
        """Attempts of workloads that ended in an error."""
        return sum(counts.failed for counts in self.workloads.values())

    @property
    def repeated(self) -> int:
        """Requests of workloads that the SDK made again, because a server had died of them."""
        return sum(counts.repeated for counts in self.workloads.values())

    @property
    def slowest(self) -> list[Recovery]:
        """The recoveries that took longest."""
        return sorted(self.recoveries.seen, key=lambda each: -each.seconds)[:MOST_SLOWEST]

    @property
    def late(self) -> list[Recovery]:
        """Recoveries that took longer than the task's policy explains."""
        seen = self.recoveries.seen
        return [each for each in seen if each.seconds > self.patience.get(each.target, 0.0) + LATE_SECONDS]

    def _is_exposed(self, workload: str) -> bool:
        return workload.partition(".")[0] in self.exposed

    def plain(self) -> dict[str, object]:
        """As a program reads it; times in milliseconds."""
        return {
            "ok": self.ok,
            "seed": self.plan.seed,
            "rate": self.plan.rate,
            "seconds": round(self.seconds, 3),
            "system": self.system,
            "injected": sum(self.injected.values()),
            "recoveries": len(self.recoveries.seen),
            "requests_repeated": self.repeated,
            "client_errors": self.client_errors,
            "checks": self.checks,
            "kept_checks": self.kept_checks,
            "wrong": self.wrong,
            "data_lost": self.data_lost,
            "damaged": self.damaged,
            "faults": {fault.value: self._fault(fault) for fault in self.plan.faults},
            "skips": self.skips,
            "workloads": {name: counts.plain() for name, counts in sorted(self.workloads.items())},
            "host_workload": self.host,
            "violations": self.violations,
            "missing": self.missing,
            "stalled": self.stalled,
            "slowest": [_plain(each) for each in self.slowest],
            "late": [_plain(each) for each in self.late],
            "exposed": sorted(self.exposed),
            "descriptors": self.descriptors,
            "descriptors_hidden": self.hidden,
            "disks": self.disks,
            "lost": self.lost,
        }

    def _fault(self, fault: Fault) -> dict[str, object]:
        told: dict[str, object] = {"injected": self.injected[fault], "skipped": self.skipped[fault]}
        if seconds := self.recoveries.seconds(fault):
            told["recovered"] = len(seconds)
            for name, share in (("p50_ms", 0.5), ("p99_ms", 0.99), ("max_ms", 1.0)):
                told[name] = round(percentile(seconds, share) * 1000, 2)
            told["spent"] = sorted(Counter(bucket(round(each * 1e6)) for each in seconds).items())
        return told


def _plain(recovery: Recovery) -> dict[str, object]:
    """``number``: which of the schedule's faults it was, counted from 0."""
    return {
        "number": recovery.number,
        "fault": recovery.fault.value,
        "target": recovery.target,
        "ms": round(recovery.seconds * 1000, 2),
    }


def _patience(system: System) -> dict[str, float]:
    """The longest that each task's group lets it wait for its next start, in seconds."""
    groups = {task.name: system.group(task.name) for task in system.tasks}
    return {name: group.backoff_limit_us / 1e6 if group.backoff_us else 0.0 for name, group in groups.items()}


class Campaign:
    """Runs a plan against the system whose runtime folder is ``folder``."""

    def __init__(self, system: System, plan: Plan, folder: Path, host: HostWorkload | None = None) -> None:
        self._system = system
        self._plan = plan
        self._folder = folder
        self._host = host
        self._tasks = TaskWorkloads(folder / "logs")
        self._shown = self._looked = 0.0
        self._changed: set[str] = set()
        self.outcome = Outcome(plan, time.monotonic(), system.name, patience=_patience(system))

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
                before = self._descriptors(injector)
                for injection in self._due(coming):
                    self._listen(management, listener, outcome.started + injection.at, show)
                    self._inject(injector, injection)
                self._settle(management, listener, show)
                after = self._descriptors(injector)
                outcome.hidden = sorted(name for name in before if None in (before[name], after[name]))
                outcome.descriptors = {
                    name: [count, later]
                    for name, count in before.items()
                    if count is not None and (later := after[name]) is not None
                }
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
            passed = time.monotonic() - self.outcome.started
            if (
                max(injection.at, passed) > self._plan.seconds
                or sum(self.outcome.injected.values()) == self._plan.count
            ):
                return
            yield injection

    def _inject(self, injector: Injector, injection: Injection) -> None:
        outcome, now = self.outcome, time.monotonic()
        try:
            pid = injector.carry_out(injection)
        except NotAnswering as error:
            if not any(each.folder == self._folder for each in running()):
                raise Refused("the system has ended by itself: its logs say why") from error
            self._skip(injection, error)
        except Refused as refusal:
            self._skip(injection, refusal)
        else:
            outcome.injected[injection.fault] += 1
            outcome.recoveries.injected(injection, pid, now)
            if injection.fault in CHANGES_BITS and injection.target not in self._changed:
                self._changed.add(injection.target)
                outcome.exposed = standing_on(self._system, self._changed)
            if injection.fault is Fault.KILL_KERNEL:
                self._wait_for_kernel(injection, now)
                self._looked = 0.0  # what started meanwhile nobody tells

    def _skip(self, injection: Injection, reason: ManagementError) -> None:
        outcome = self.outcome
        outcome.skipped[injection.fault] += 1
        if len(outcome.skips) < KEPT_SKIPS:
            outcome.skips.append(f"{injection.fault.value} {injection.target}: {reason}")

    def _wait_for_kernel(self, injection: Injection, since: float) -> None:
        with Management(self._folder, KERNEL_SECONDS) as management:
            management.request("status")
        self.outcome.recoveries.kernel_is_back(injection, since, time.monotonic())

    def _look(self, management: Management) -> list[Mapping[str, object]]:
        """See which processes there are."""
        rows = management.request("ps")
        assert isinstance(rows, list)
        self._looked = time.monotonic()
        self.outcome.recoveries.looked(rows, self._looked)
        return rows

    def _listen(
        self, management: Management, listener: Listener, until: float, show: Callable[[Outcome], None]
    ) -> None:
        """Take what the system tells until that time; once at least, so that nothing piles up."""
        while True:
            left = until - time.monotonic()
            event = listener.next(min(max(left, 0), LOOK_SECONDS))
            now = time.monotonic()
            if event is not None:
                self.outcome.recoveries.event(event, now)
            elif self.outcome.recoveries.waits and now - self._looked >= LOOK_SECONDS:
                with suppress(NotAnswering):  # it is asked again
                    self._look(management)
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
            self._listen(management, listener, min(until, time.monotonic() + SHOW_SECONDS / 5), show)
        self.outcome.missing = sorted(missing)
        self._wait_for_counts(management, listener, show)

    def _wait_for_counts(self, management: Management, listener: Listener, show: Callable[[Outcome], None]) -> None:
        """Wait until each workload has told of what came after the last fault."""
        self._count()
        before = {name: counts.attempts for name, counts in self.outcome.workloads.items()}
        until = time.monotonic() + COUNTS_SECONDS
        while time.monotonic() < until:
            self._listen(management, listener, min(until, time.monotonic() + SHOW_SECONDS / 5), show)
            self._count()
            found = self.outcome.workloads
            self.outcome.stalled = sorted(name for name in before if found[name].attempts <= before[name])
            if not self.outcome.stalled:
                return

    def _running(self, management: Management) -> set[str]:
        rows = self._look(management)
        return {str(row["name"]) for row in rows if row["state"] not in ("ENDING", "HELD", "INACTIVE")}

    def _descriptors(self, injector: Injector) -> dict[str, int | None]:
        """How many the kernel and the monitor have open. None: the host does not show this user."""
        (monitor,) = (each.pid for each in running() if each.folder == self._folder)
        pids = {"kernel": injector.kernel_pid(), "monitor": monitor}
        return {name: _open_descriptors(pid) for name, pid in pids.items()}


def _open_descriptors(pid: int) -> int | None:
    """How many a process has open. None where that is hidden: those of a process that may not be dumped, as the kernel
    and the monitor, Linux shows to root alone. proc(5), prctl(2) PR_SET_DUMPABLE."""
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except PermissionError:
        return None
