"""The reincarnation server: hears of every fault and end of the tasks that it supervises, and decides what follows.

Must be given: the grant ``lifecycle``, and something that it provides, since faults come in at its endpoint. What
root keeps is all that it needs to begin anew at any instant; it has no authority over a task but to ask root.
"""

from __future__ import annotations

import time
from typing import Final

from libsel4py import DEFER, ReplyToken, component, uses
from libsel4py.abi import FaultLabel, message_info
from libsel4py.capabilities import Notification
from libsel4py.errors import KernelError, RemoteError
from libsel4py.fault_reports import FAULTED, is_guarded, pager_is_gone
from libsel4py.heartbeats import HUNG, Heartbeats, Pulse
from libsel4py.interfaces.complaints import Complaints, Ruling, Verdict
from libsel4py.interfaces.lifecycle import (
    MOST_ALLOWED,
    Allowed,
    Change,
    Lifecycle,
    Order,
    OrderKind,
    Standing,
    TaskRecord,
    parts,
)
from libsel4py.interfaces.recovery import Case, Decision, Recovery
from libsel4py.interfaces.supervision import Supervised, Supervision
from libsel4py.interfaces.system import NotPermitted
from libsel4py.lowlevel.machine import Words
from libsel4py.server import Alarm
from libsel4py.signature import Word
from servers.reincarnation.children import SECOND_US
from servers.reincarnation.policy import AskToStop, CameUp, EndSystem, Policy, Step
from servers.reincarnation.reports import Report, account, complaint_of

SHOWN: Final = 40  # characters of a name that is no task's
NO_MEMORY: Final[Words] = (message_info(1), 0, 0, 0, 0)  # the answer to a VM fault that nobody resolves


@component
class Main(Supervision, Complaints, Recovery):
    """The server."""

    lifecycle = uses(Lifecycle)

    def start(self) -> None:
        records, orders = self._look()
        self._seen = orders[-1].serial if orders else 0  # serial number of the last order
        self._allowed: list[Allowed] | None = None  # as root has it; None: it has none of what it was told
        self._lives: dict[int, int] = {}  # `_life_of`, by the task's number
        self._asking: dict[str, tuple[int, ReplyToken]] = {}  # who waits for a case, by name, and behind which
        self._policy = Policy(records, self.lifecycle.groups())
        periods = {record.number: record.heartbeat_us / SECOND_US for record in records}
        self._heartbeats = Heartbeats(
            {
                number: (Pulse(Notification(each.notification), Notification(each.pulse)), periods[number])
                for number, each in self.task.environment.heartbeats.items()
            },
            {record.number: record.first_heartbeat_us / SECOND_US for record in records},
        )
        now = time.monotonic()
        for record in records:
            if record.standing is Standing.RUNNING and record.runs:
                self._heartbeats.begin(record.number, now, record.started_at)
        # What an earlier life had been told of, and died of before it had seen to it.
        told = {order.task: order for order in orders if not self._obey(order, ended=False)}
        for record in records:
            has_begun = self._policy.children[record.number].started_at != record.started_at  # behind that look
            if record.standing is Standing.RUNNING and not record.runs and not has_begun:
                order = told.get(record.number)
                text = order.text if order is not None else "ended while nobody looked"
                self._take(self._policy.failed(record.number, order.status if order else FAULTED, text, now))
        while not self._allow():
            self._obey_all()
        self.server.alarm = Alarm(self._due, self._ring)

    def _look(self) -> tuple[list[TaskRecord], list[Order]]:
        """How the tasks stand, and what is to be seen to. No order came in between: the records have what they tell."""
        orders = self.lifecycle.orders(0)
        while True:
            records, before = self.lifecycle.tasks(), orders
            orders = self.lifecycle.orders(0)
            if orders == before:
                return records, orders

    def on_stranger(self, badge: int, label: int, words: tuple[int, ...]) -> Words | None:
        """A message with no client's badge: a fault, or an end. A guarded access alone goes on, and raises."""
        if is_guarded(label, words):
            return NO_MEMORY
        report = Report.of(badge, label, words)
        child = self._policy.children.get(report.number) if report is not None else None
        if report is not None and child is not None and report.is_news:
            text, now = report.text_for(child.record.name), time.monotonic()
            pager = self._policy.stopped_pager(report.number) if label == FaultLabel.VM_FAULT else ""
            text += pager_is_gone(pager) if pager else ""
            self._take(self._policy.failed(report.number, report.status, text, now, faulted=report.faulted))
            self._allow()
        return None

    def on_signal(self, _: int) -> None:
        """Root has orders."""
        self._see_to_orders()

    def _see_to_orders(self) -> None:
        """The last look, which finds none, tells root that all are carried out: a later life of this server would do so
        again."""
        self._allowed = None
        self._obey_all()
        while not self._allow():
            self._obey_all()

    def _obey_all(self) -> None:
        for order in self._orders():
            self._obey(order)

    def _allow(self) -> bool:
        """Tell root what is known ahead. False: it has orders, which it signals as well."""
        allowed = self._policy.allowed(time.monotonic())
        if allowed == self._allowed:
            return True
        try:
            is_told = all(
                self.lifecycle.allow(self._seen, allowed[first : first + MOST_ALLOWED], first > 0)
                for first in range(0, max(len(allowed), 1), MOST_ALLOWED)
            )
        except (RemoteError, KernelError) as error:
            raise SystemExit(f"root did not take what is allowed: {error}") from error
        self._allowed = allowed if is_told else None
        return is_told

    def supervised(self) -> list[Supervised]:
        return account(self._policy, self._heartbeats, time.monotonic())

    def life(self, task: str) -> Word:
        return Word(self._life_of(self._complained_of(task)))

    def complain(self, task: str, life: Word, why: str) -> Ruling:
        number = self._complained_of(task)
        known = self._life_of(number)
        if life != known:
            return Ruling(Verdict.LATE, known)
        refused = self._policy.refuses_complaint(number, time.monotonic())
        if refused is not None:
            return Ruling(refused, known)
        self._see_to_orders()  # what has become of that life by now
        self._lives.pop(number, None)
        current = self._life_of(number)
        if life != current:
            return Ruling(Verdict.LATE, current)
        text = complaint_of(self.caller.name, why)
        verdict, steps = self._policy.complained(number, text, time.monotonic())
        self._take(steps)
        self._allow()
        return Ruling(verdict, self._life_of(number))

    def _life_of(self, number: int) -> int:
        """The number of a task's life, as root told it behind the last thing that is known here to have happened to it:
        so whoever asks without end asks root as often as something happens. What may be followed by an end is looked
        at anew."""
        if number not in self._lives:
            self._lives[number] = self.lifecycle.life(number)
        return self._lives[number]

    def _complained_of(self, task: str) -> int:
        """The number of a task. Raises NotPermitted: the caller may not complain of it."""
        records = [child.record for child in self._policy.children.values()]
        permitted = {number for each in records if each.name == self.caller.name for number in each.complains_of}
        number = next((each.number for each in records if each.name == task), None)
        if number is None or number not in permitted:
            raise NotPermitted(f"the description does not let {self.caller.name} complain of {task[:SHOWN]!r}")
        return number

    def next_case(self, after: Word) -> Case:
        name = self.caller.name
        self._ensure_recovers(name)
        found = self._policy.next_case(name, after)
        if found is not None:
            return found
        token = self.defer_reply()
        former = self._asking.pop(name, None)
        self._asking[name] = after, token
        if former is not None:  # of a former life, mostly
            former[1].fail(NotPermitted(f"{name} has asked once more"))
        return DEFER

    def decide(self, serial: Word, decision: Decision) -> bool:
        self._ensure_recovers(self.caller.name)
        if not self._policy.is_open(self.caller.name, serial):
            return False  # nor will it be: no number is told before its case is open
        self._see_to_orders()
        was_open, steps = self._policy.decided(self.caller.name, serial, decision, time.monotonic())
        self._take(steps)
        self._allow()
        return was_open

    def _ensure_recovers(self, name: str) -> None:
        if not self._policy.recovered_by(name):
            raise NotPermitted(f"the description has {name} recover no group")

    def _tell_of_cases(self) -> None:
        """Answer who waits for a case, and has one."""
        for name, (after, token) in list(self._asking.items()):
            found = self._policy.next_case(name, after)
            if found is not None:
                del self._asking[name]
                token.complete(found)

    def _orders(self) -> list[Order]:
        orders = self.lifecycle.orders(self._seen)
        self._seen = orders[-1].serial if orders else self._seen
        return orders

    def _obey(self, order: Order, ended: bool = True) -> bool:
        """Carry out an order; False of one that tells of an end, where ``ended`` does not let it be told."""
        policy, task, now = self._policy, order.task, time.monotonic()
        self._lives.pop(task, None)
        match order.kind:
            case OrderKind.STOP:
                self._take(policy.stop(task, now))
            case OrderKind.RESTART:
                self._take(policy.stop(task, now, restarts=True))
            case OrderKind.UPDATE:
                self._take(policy.update(task, order.text, now))
            case OrderKind.START:
                self._take(policy.start(task, now))
            case OrderKind.DONE:
                self._take(policy.done(task))
                self._heartbeats.end(task)
            case OrderKind.QUIT if ended:
                self._take(policy.quit(task, order.status, order.text, now))
            case OrderKind.FAILED if ended:
                self._take(policy.failed(task, order.status, order.text, now, faulted=True))
            case OrderKind.RESTARTED if ended:
                self._take(policy.restarted(task, order.at))
                self._heartbeats.begin(task, now)
            case OrderKind.KILLED if ended:
                self._take(policy.killed(task, order.status, now))
            case _:
                return False
        return True

    def _take(self, steps: list[Step]) -> None:
        """Let root carry out what the policy says.

        Raises:
            SystemExit: root could not. What is so, and what is thought here, may differ now: the next life looks anew.
        """
        for step in steps:
            try:
                self._carry_out(step)
            except (RemoteError, KernelError) as error:
                raise SystemExit(f"root did not carry out {step}: {error}") from error
        self._tell_of_cases()

    def _carry_out(self, step: Step) -> None:
        match step:
            case Change():
                self._allowed = None
                self._lives.clear()
                *first, last = parts(step)
                for each in first:
                    self.lifecycle.part(each)
                self.lifecycle.change(last)
                for number in (*step.ends, *step.leaves):
                    self._heartbeats.end(number)
                for number in step.starts:
                    self._heartbeats.begin(number, time.monotonic())
            case AskToStop(task, stop):
                self._allowed = None
                self.lifecycle.ask_to_stop(task, stop)
            case CameUp(task):
                self.lifecycle.came_up(task)
            case EndSystem(task, status, why):
                self.lifecycle.end_system(task, status, why)

    def _due(self) -> float:
        return min(self._policy.next_due(), self._heartbeats.next_due())

    def _ring(self) -> None:
        self._obey_all()  # who is hung may have been started again by now
        now = time.monotonic()
        self._take(self._policy.tick(now))
        for number in self._heartbeats.look(now):
            self._take(self._policy.failed(number, FAULTED, HUNG, now, hung=True))
        for number in filter(self._heartbeats.has_answered, self._policy.probation()):
            self._take(self._policy.came_up(number))
        self._allow()
