"""Supervised tasks and their groups, as the rules see them: how they stand, and what counts of their failures."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from libsel4py.description import Group, Strategy
from libsel4py.interfaces.lifecycle import FOREVER, Standing, Stop, TaskRecord

SECOND_US: Final = 1e6
MOST_DOUBLINGS: Final = 30  # any limit is less


@dataclass(slots=True, eq=False)
class Child:
    """A supervised task. What is the same as in `TaskRecord` is called the same.

    Attributes:
        back_at: when it was started behind the last complaint of it; 0: it was not yet.
        due: when it waits, the moment of its start; 0: as soon as those that it depends on run.
        updates_to: the boot image that it runs when it has stopped; "": the same.
        kept: what root has as `due`; None: there it does not wait.
        stops_by: the moment when it is ended that was asked to stop. stops_for_restart: it is then started again.
    """

    record: TaskRecord
    standing: Standing
    failures: int
    due: float
    started_at: float
    failed_at: deque[float]
    complained_at: deque[float]
    back_at: float = 0.0
    stops_by: float = FOREVER
    stops_for_restart: bool = False
    updates_to: str = ""
    image: str = ""
    former_image: str = ""
    kept: float | None = None

    @classmethod
    def of(cls, record: TaskRecord) -> Child:
        failed_at, complained_at = deque(record.failed_at), deque(record.complained_at)
        made = cls(record, record.standing, record.failures, record.due, record.started_at, failed_at, complained_at)
        made.image, made.former_image, made.back_at = record.image, record.former_image, record.back_at
        made.kept = record.due if record.standing is Standing.WAITING else None
        if record.stop is not None and record.standing is Standing.RUNNING:
            made.stops(record.stop)
        return made

    def stops(self, stop: Stop) -> None:
        """It is asked to."""
        self.stops_by, self.stops_for_restart, self.updates_to = stop.by, stop.restarts, stop.image

    @property
    def number(self) -> int:
        return self.record.number

    @property
    def is_stopping(self) -> bool:
        return self.stops_by != FOREVER

    @property
    def goes_along(self) -> bool:
        """Whether it ends with its group: not what has ended already for good, or is about to."""
        return self.standing in (Standing.RUNNING, Standing.WAITING) and not self.is_stopping

    def forgive(self) -> None:
        """What it has failed is forgotten."""
        self.failures = 0
        self.failed_at.clear()


@dataclass(slots=True, eq=False)
class Supervisor:
    """A group and its children, in start order."""

    group: Group
    children: list[Child] = field(default_factory=list)
    renewed_at: float = 0.0

    def failures_within(self, now: float) -> int:
        """How many of its children's failures count still."""
        period = self.group.period_us / SECOND_US
        for child in self.children:
            while child.failed_at and now - child.failed_at[0] >= period:
                child.failed_at.popleft()
        return sum(len(child.failed_at) for child in self.children)

    def complaints_within(self, now: float) -> int:
        """How many of them were complaints of the children."""
        period = self.group.period_us / SECOND_US
        for child in self.children:
            while len(child.complained_at) > 1 and now - child.complained_at[0] >= period:
                child.complained_at.popleft()
        return sum(now - moment < period for child in self.children for moment in child.complained_at)

    def eases(self, child: Child, now: float) -> float:
        """The next moment at which something that has failed counts no more; FOREVER if there is none."""
        period = self.group.period_us / SECOND_US
        moments = [each.failed_at[0] + period for each in self.children if each.failed_at]
        return min((moment for moment in (*moments, self.is_long(child)) if moment > now), default=FOREVER)

    def affected(self, failed: Child) -> list[Child]:
        """Those that end with this one, itself among them, by the group's strategy."""
        match self.group.strategy:
            case Strategy.ONE_FOR_ONE:
                found = [failed]
            case Strategy.REST_FOR_ONE:
                found = self.children[self.children.index(failed) :]
            case Strategy.ONE_FOR_ALL:
                found = self.children
        return [child for child in found if child is failed or child.goes_along]

    def waiting_until(self, due: float) -> list[Child]:
        """Those that wait for that moment."""
        return [child for child in self.children if child.standing is Standing.WAITING and child.due == due]

    def failures_in_row(self, child: Child, now: float) -> int:
        """How many lives have ended before this one, each soon: one that was longer than any delay did not fail to
        start."""
        return 0 if now >= self.is_long(child) else child.failures

    def is_long(self, child: Child) -> float:
        """The moment from which on this life is longer than any delay."""
        return child.started_at + self.group.backoff_limit_us / SECOND_US

    def delay(self, failed: Child, now: float) -> float:
        """Seconds until a task that has failed is to be started, which counts one more failure in a row."""
        limit = self.group.backoff_limit_us / SECOND_US
        failed.failures = self.failures_in_row(failed, now)
        doublings, failed.failures = min(failed.failures, MOST_DOUBLINGS), failed.failures + 1
        return min(self.group.backoff_us / SECOND_US * (1 << doublings), limit) if doublings else 0.0
