"""What follows when a supervised task fails: rules alone, without a system and without a clock of their own.

Rules. An event comes in with its moment, in seconds, and a `Change` goes out, which says all that is to be done and
kept; the state here is then as if it had been done. So the state can be built again from what root keeps
(`TaskRecord`), and a test runs years in no time.

A complaint is a failure of the task that it is of, and never what gives it up: of the failures that its group may have
within its period, half may be complaints. The life that follows one is not complained of before it is a second old, and
as old as the task was away before it, and neither is another one that shares its ends. So whoever complains of each
life takes half of the time at most of a server that starts within a second.

Sources. Strategies, intensity, period: Erlang/OTP, supervisor(3). Delays: MINIX 3's RS, `1 << restarts` periods and
30 s at most, the first crash at once. Complaints: its EVENT of another server.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from libsel4py.description import GiveUp, Group, Restart
from libsel4py.fault_reports import FAULTED
from libsel4py.interfaces.complaints import Verdict
from libsel4py.interfaces.lifecycle import FOREVER, Allowed, Cause, Change, Standing, Stop, TaskRecord
from libsel4py.interfaces.recovery import Case, Decision, Event
from servers.reincarnation.cases import Cases
from servers.reincarnation.children import SECOND_US, Child, Supervisor

LEAST_LIFE_S: Final = 1.0  # behind a complaint, before the next one
BY_ORDER: Final = "stopped by order"


@dataclass(frozen=True, slots=True)
class EndSystem:
    """The system is to end with this exit status, since this task has."""

    task: int
    status: int
    why: str


@dataclass(frozen=True, slots=True)
class CameUp:
    """The task's update serves: there is no way back any more."""

    task: int


@dataclass(frozen=True, slots=True)
class AskToStop:
    """The task is to be told that it should end by itself."""

    task: int
    stop: Stop


Step = Change | EndSystem | AskToStop | CameUp


class Policy:
    """All groups. Build it from what root keeps, at any time."""

    def __init__(self, records: Sequence[TaskRecord], groups: Sequence[Group]) -> None:
        self.children = {record.number: Child.of(record) for record in records}
        named = {group.name: Supervisor(group) for group in groups}
        self.supervisors: dict[int, Supervisor] = {}
        for child in self.children.values():
            record = child.record
            supervisor = named.get(record.group)
            if supervisor is None or record.name not in supervisor.group.tasks:
                supervisor = Supervisor(Group(record.group, (record.name,)))
            supervisor.children.append(child)
            supervisor.renewed_at = max(supervisor.renewed_at, record.renewed_at)
            self.supervisors[child.number] = supervisor

        self.cases = Cases()
        self._now = 0.0  # of the last event
        self._more_allowed = FOREVER  # the moment from which on `allowed` has one more

    def next_due(self) -> float:
        """The moment for `tick`, and to ask for `allowed` again; FOREVER if there is none."""
        due = (min(_due(child), child.stops_by) for child in self.children.values())
        return min(due, default=FOREVER) if self._more_allowed == FOREVER else min(self._more_allowed, *due)

    # --- what is known ahead ----------------------------------------------------------------------------------------

    def allowed(self, now: float) -> list[Allowed]:
        """Those that root may start again at once, each one time, when they fail next, since that is what would be
        decided at any later moment: no other one ends with it, it waits for no delay, and its group has failed so
        seldom that all of these may. Whether those run that it depends on, root sees."""
        found: list[Allowed] = []
        given: dict[Supervisor, int] = {}
        self._more_allowed = FOREVER
        for child in self.children.values():
            supervisor = self.supervisors[child.number]
            group, may_fail = supervisor.group, child.record.restart is not Restart.NEVER and not child.is_stopping
            is_alone = group.is_each_alone and not group.recovery and not child.former_image
            if not (may_fail and is_alone and child.standing is Standing.RUNNING):
                continue
            count = supervisor.failures_within(now) + given.get(supervisor, 0)
            in_row = supervisor.failures_in_row(child, now)
            if count < group.intensity and not (in_row and group.backoff_us):
                given[supervisor] = given.get(supervisor, 0) + 1
                found.append(Allowed(child.number, in_row + 1))
            elif group.intensity:
                self._more_allowed = min(self._more_allowed, supervisor.eases(child, now))
        return found

    def restarted(self, number: int, at: float) -> list[Step]:
        """Root has started it again after a failure, at that moment, as it was allowed to."""
        child = self.children.get(number)
        if child is not None and child.standing is Standing.RUNNING:
            child.failed_at.append(at)
            self.supervisors[number].delay(child, at)
            child.started_at = at
        return []

    def stopped_pager(self, number: int) -> str:
        """The name of the task's pager, if it has one that does not run; else ""."""
        child = self.children.get(number)
        pager = None if child is None or child.record.pager is None else self.children.get(child.record.pager)
        return "" if pager is None or pager.standing is Standing.RUNNING else pager.record.name

    # --- events -----------------------------------------------------------------------------------------------------

    def failed(
        self, number: int, status: int, text: str, now: float, *, faulted: bool = False, hung: bool = False
    ) -> list[Step]:
        """A task's process has ended with this exit status, or a thread of it has faulted, or it was found hung."""
        self._now = now
        child = self.children.get(number)
        if child is None or child.standing is not Standing.RUNNING:
            return []  # its further threads, of which its first one has told; or it was ended here
        if child.is_stopping:
            return self._stop(child, text)
        cause = Cause(number, text, has_faulted=faulted)
        if child.former_image:
            return self._roll_back(child, cause)
        restart = child.record.restart
        if restart is Restart.NEVER or (restart is Restart.ON_FAILURE and not status):
            return self._leave(child, cause, status, ends=hung)
        return self._restart(child, cause, status, now, Event.HUNG if hung else Event.ENDED)

    def complained(self, number: int, text: str, now: float) -> tuple[Verdict, list[Step]]:
        """Another task has said that this one's current life answers wrongly."""
        self._now = now
        refused = self.refuses_complaint(number, now)
        if refused is not None:
            return refused, []
        child = self.children[number]
        child.complained_at.append(now)
        child.back_at = 0.0
        cause = Cause(number, text, is_complaint=True)
        if child.former_image:
            child.failed_at.append(now)
            return Verdict.ENDED, self._roll_back(child, replace(cause, failed_at=now))
        return Verdict.ENDED, self._restart(child, cause, FAULTED, now, Event.COMPLAINT)

    def refuses_complaint(self, number: int, now: float) -> Verdict | None:
        """The verdict on a complaint that nothing would follow; None: the task would be ended."""
        child = self.children.get(number)
        if child is None or child.standing is not Standing.RUNNING or child.is_stopping:
            return Verdict.LATE
        return None if self._may_be_complained_of(child, now) else Verdict.TOO_OFTEN

    def recovered_by(self, name: str) -> set[int]:
        """The numbers of the tasks whose groups the task of this name recovers."""
        return {number for number, each in self.supervisors.items() if name and each.group.recovery == name}

    def next_case(self, name: str, after: int) -> Case | None:
        """The oldest case that is open to the task of this name, behind that serial number."""
        return self.cases.next(self._held_for(name), after)

    def is_open(self, name: str, serial: int) -> bool:
        """Whether the case of this serial number is open to the task of this name."""
        return self.cases.is_open(self._held_for(name), serial)

    def _held_for(self, name: str) -> set[int]:
        """Those whose case is open to the task of this name. What was started or stopped since is held no more."""
        numbers = self.recovered_by(name)
        for number in numbers:
            if not self._is_held(self.children[number]):
                self.cases.forget(number)
        return numbers

    def decided(self, name: str, serial: int, decision: Decision, now: float) -> tuple[bool, list[Step]]:
        """The task of this name has decided a case. False: it is not open to it."""
        self._now = now
        held = self.cases.take(self._held_for(name), serial)
        if held is None:
            return False, []
        child, supervisor = self.children[held.number], self.supervisors[held.number]
        due = held.due if held.due > now and decision in (Decision.POLICY, Decision.LEAVE) else 0.0
        due = max(due, self._held_before(child, supervisor, held.until))
        for each in supervisor.waiting_until(held.until):
            each.due = due
        cause = Cause(child.number, "", failures=child.failures)
        match decision:
            case Decision.LEAVE:
                child.standing = Standing.LEFT
                started = self._start_ready()
                return True, self._told(Change(starts=started, leaves=(child.number,), because=f"left by {name}"))
            case Decision.RESTART_GROUP:
                return True, self._change(cause, [each for each in supervisor.children if each.goes_along])
        return True, self._told(Change(starts=self._start_ready()))

    def done(self, number: int) -> list[Step]:
        """A task has said that its work is done: root has ended it."""
        child = self.children.get(number)
        if child is not None:
            child.standing, child.stops_by = Standing.DONE, FOREVER
        return []

    def quit(self, number: int, status: int, text: str, now: float) -> list[Step]:
        """A task has said that its work is done, and root knew of no sign that its update had come up. Where there was
        one after all, or that life was to stop, it is as good as its word."""
        self._now = now
        child = self.children.get(number)
        if child is None or child.standing is not Standing.RUNNING:
            return []
        cause = Cause(number, text)
        if child.is_stopping:
            return self._stop(child, text)
        return self._roll_back(child, cause) if child.former_image else self._leave(child, cause, status)

    def killed(self, number: int, status: int, now: float) -> list[Step]:
        """Root has ended it by order. Its failures are forgiven, and one that was given up is started again: somebody
        has looked after it."""
        self._now = now
        child = self.children.get(number)
        if child is None or child.standing is Standing.DONE:
            return []
        if child.is_stopping:
            return self._stop(child, "")
        child.forgive()
        child.standing = Standing.WAITING  # it has ended
        cause = Cause(number, "", forgives=True)
        if child.record.restart is Restart.NEVER:
            return self._leave(child, cause, status)
        return self._change(cause, self.supervisors[number].affected(child))

    def stop(self, number: int, now: float, *, restarts: bool = False, image: str = "") -> list[Step]:
        """By order: ask it to stop, and end it if it does not; ``restarts``: then start it again, with ``image``."""
        self._now = now
        child = self.children.get(number)
        if child is None or child.standing is Standing.DONE:
            return []
        child.stops_for_restart, child.updates_to = restarts, image
        if child.standing is not Standing.RUNNING or not child.record.asks_to_stop:
            return self._stop(child, BY_ORDER)
        stop = Stop(now + child.record.stop_timeout_us / SECOND_US, restarts, image)
        child.stops(stop)
        return [AskToStop(number, stop)]

    def start(self, number: int, now: float) -> list[Step]:
        """By order: start what does not run."""
        self._now = now
        child = self.children.get(number)
        if child is None or child.standing in (Standing.RUNNING, Standing.DONE):
            return []
        child.forgive()
        child.standing, child.due = Standing.WAITING, 0.0
        return self._told(Change(Cause(number, "", forgives=True), starts=self._start_ready()))

    def update(self, number: int, image: str, now: float) -> list[Step]:
        """By order: ask it to stop, and let it begin again with that boot image. One that is down begins with it."""
        child = self.children.get(number)
        if child is None or child.standing is Standing.DONE:
            return []
        if child.standing is Standing.RUNNING:
            return self.stop(number, now, restarts=True, image=image)
        self._now, child.updates_to = now, image
        child.forgive()
        return self._load(child, Cause(number, "", forgives=True))

    def probation(self) -> list[int]:
        """Those whose update runs, and is not known to serve yet."""
        return [
            each.number for each in self.children.values() if each.former_image and each.standing is Standing.RUNNING
        ]

    def came_up(self, number: int) -> list[Step]:
        """It serves."""
        self.children[number].former_image = ""
        return [CameUp(number)]

    def tick(self, now: float) -> list[Step]:
        """Time has come to this moment: start what is due, end what was to stop."""
        self._now = now
        steps: list[Step] = []
        for child in self.children.values():
            if child.stops_by <= now:
                steps += self._stop(child, f"did not stop within {child.record.stop_timeout_us / SECOND_US:g} s")
        for child in self.children.values():
            if _due(child) <= now:
                child.due = 0.0
        return [*steps, *self._told(Change(starts=self._start_ready()))]

    # --- rules ------------------------------------------------------------------------------------------------------

    def _restart(self, child: Child, cause: Cause, status: int, now: float, event: Event) -> list[Step]:
        supervisor = self.supervisors[child.number]
        if supervisor.failures_within(now) >= supervisor.group.intensity:
            return self._give_up(supervisor, child, cause, status, now)
        child.failed_at.append(now)
        delay = supervisor.delay(child, now)
        kept = replace(cause, failures=child.failures, failed_at=now)
        affected, due = supervisor.affected(child), now + delay if delay else 0.0
        asks = supervisor.group.recovery if self._runs(supervisor.group.recovery) else ""
        if asks:
            due = self.cases.open(child, supervisor, event, cause.text, len(affected) - 1, now, due)
        self._hold_on(supervisor, [each for each in affected if each is not child], due)
        # One that waits for longer already, for what it has failed itself, goes on waiting.
        affected = [each for each in affected if each.standing is Standing.RUNNING or each.due <= due or each is child]
        return self._change(kept, affected, due, asks=asks)

    def _hold_on(self, supervisor: Supervisor, along: Sequence[Child], due: float) -> None:
        """Those of these that are held for their own cases' decision are so until behind that moment, with all that
        wait with them."""
        for each in along:
            if self._is_held(each):
                waiting = supervisor.waiting_until(each.due)
                until = self.cases.prolong(each.number, due)
                for one in waiting:
                    one.due = until

    def _held_before(self, child: Child, supervisor: Supervisor, until: float) -> float:
        """The latest moment, before that one, until which another one is held that it would have ended with; 0: none
        is."""
        held = [each for each in supervisor.children if each is not child and self._is_held(each) and each.due < until]
        return max((each.due for each in held if child in supervisor.affected(each)), default=0.0)

    def _is_held(self, child: Child) -> bool:
        """Whether it waits for its case's decision."""
        return child.standing is Standing.WAITING and child.due == self.cases.until(child.number)

    def _runs(self, name: str) -> bool:
        return any(each.record.name == name and each.standing is Standing.RUNNING for each in self.children.values())

    def _may_be_complained_of(self, child: Child, now: float) -> bool:
        """Whether a complaint of it is followed by another life, and has not just been followed by this one, or by that
        of one that it shares its ends with."""
        supervisor = self.supervisors[child.number]
        most = supervisor.group.intensity
        is_rare = supervisor.complaints_within(now) < most // 2 and supervisor.failures_within(now) < most
        comes_back = child.record.restart is not Restart.NEVER and all(map(self._is_up, child.record.depends))
        lives = [child] if supervisor.group.is_each_alone else supervisor.children
        return is_rare and comes_back and all(_is_let_alone_no_more(each, now) for each in lives)

    def _load(self, child: Child, cause: Cause) -> list[Step]:
        """It runs its new boot image from now on."""
        image, child.updates_to = child.updates_to, ""
        child.former_image = "" if image == child.former_image else child.former_image or child.image
        child.image = image
        return self._change(cause, [child], image=image)

    def _roll_back(self, child: Child, cause: Cause) -> list[Step]:
        """Its update has not come up: the boot image of before runs again. That is no failure of its."""
        child.updates_to = child.former_image
        return self._load(child, replace(cause, failures=child.failures))

    def _give_up(self, supervisor: Supervisor, child: Child, cause: Cause, status: int, now: float) -> list[Step]:
        """It has failed too often."""
        period = supervisor.group.period_us / SECOND_US
        many = f"given up after {supervisor.group.intensity} restarts within {period:g} s"
        match supervisor.group.give_up:
            case GiveUp.END_SYSTEM:
                return [EndSystem(child.number, status or 1, f"{cause.text}; {many}")]
            # Where a beginning of all has just not helped, another one will not.
            case GiveUp.RESTART_GROUP if not supervisor.renewed_at or now - supervisor.renewed_at > 2 * period:
                supervisor.renewed_at = now
                ends = [each for each in supervisor.children if each is child or each.goes_along]
                for each in ends:
                    each.forgive()
                    each.kept = None  # root is to know of each
                return self._change(cause, ends, renews=True)
        return self._leave(child, cause, status, f"{many}, kill starts it again", ends=True)

    def _leave(self, child: Child, cause: Cause, status: int, because: str = "", *, ends: bool = False) -> list[Step]:
        """It is not started again. ``ends``: it may run still, and is not kept to be looked at."""
        if child.record.essential:
            return [EndSystem(child.number, status or int(ends), cause.text or "it was ended")]
        child.standing = Standing.LEFT
        ended = (child.number,) if ends else ()
        return self._told(Change(cause, ended, leaves=(child.number,), because=because))

    def _stop(self, child: Child, text: str) -> list[Step]:
        """It has ended as it was ordered to, or is ended now."""
        child.stops_by = FOREVER
        child.forgive()
        cause = Cause(child.number, text, forgives=True)
        if child.stops_for_restart and child.updates_to:
            return self._load(child, cause)
        if child.stops_for_restart:
            return self._change(cause, [child])
        ends = (child.number,) if child.standing is Standing.RUNNING else ()
        child.standing = Standing.LEFT
        return self._told(Change(cause, ends, leaves=(child.number,), because=BY_ORDER, by_order=True))

    def _change(
        self,
        cause: Cause,
        affected: Sequence[Child],
        due: float = 0.0,
        renews: bool = False,
        asks: str = "",
        image: str = "",
    ) -> list[Step]:
        """End these, the last one first, and start those that can be started now; the others wait.

        The system ends where an essential one would not come back.
        """
        ends = tuple(each.number for each in reversed(affected) if each.standing is Standing.RUNNING)
        left = [each for each in affected if each.record.restart is Restart.NEVER and each.number != cause.task]
        missed = next((each for each in left if each.record.essential), None)
        if missed is not None:
            return [EndSystem(missed.number, 1, f"it ends with {self.children[cause.task].record.name} for good")]
        for each in affected:
            each.standing, each.due = Standing.WAITING, due
        for each in left:
            each.standing = Standing.LEFT
        leaves = tuple(each.number for each in left)
        return self._told(Change(cause, ends, self._start_ready(), due, leaves, renews, asks=asks, image=image))

    def _told(self, change: Change) -> list[Step]:
        """The step, if it says anything: with what root does not know by it of those that wait, so that who begins
        anew from what root keeps starts nobody sooner or later."""
        for number in change.ends:
            self.children[number].kept = change.due
        for number in (*change.starts, *change.leaves):
            self.children[number].kept = None
        moved = [each for each in self.children.values() if each.standing is Standing.WAITING and each.kept != each.due]
        for each in moved:
            each.kept = each.due
        told = replace(change, waits=tuple((each.number, each.due) for each in moved))
        return [told] if told != Change() else []

    def _start_ready(self) -> tuple[int, ...]:
        """Those that wait for nothing but others that run by now, in start order; they are running from now on."""
        started: list[int] = []
        for child in self.children.values():
            is_due = child.standing is Standing.WAITING and not child.due
            if is_due and all(self._is_up(number) for number in child.record.depends):
                child.standing, child.started_at = Standing.RUNNING, self._now
                child.back_at = child.back_at or self._now
                started.append(child.number)
        return tuple(started)

    def _is_up(self, number: int) -> bool:
        child = self.children.get(number)
        return child is None or child.standing in (Standing.RUNNING, Standing.DONE)


def _is_let_alone_no_more(child: Child, now: float) -> bool:
    if not child.complained_at:
        return True
    away = child.back_at - child.complained_at[-1]  # later lives have begun for other reasons
    return now - max(child.started_at, child.complained_at[-1]) >= max(away, LEAST_LIFE_S)


def _due(child: Child) -> float:
    """The moment for which it waits; FOREVER: for none, since it runs, or waits for other tasks."""
    return child.due if child.standing is Standing.WAITING and child.due else FOREVER
