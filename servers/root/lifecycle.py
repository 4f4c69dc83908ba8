"""Root's side of supervision by another task: interface `Lifecycle`, the mechanism without the policy.

Rules: a change is carried out whole before the next message is looked at, so the reincarnation server may die at any
instant of it. What it must find again when it is back stands in `RunningTask`. It is as trusted as root is with the
lives of the others, and with nothing else: numbers that mean no supervised task are passed over.
"""

from __future__ import annotations

import logging
from typing import Final

from libsel4py.abi import Rights
from libsel4py.capabilities import Notification
from libsel4py.description import Group, System
from libsel4py.environment import SIGNAL_BADGE, STOP_SIGNAL
from libsel4py.interfaces.lifecycle import (
    Allowed,
    Cause,
    Change,
    Lifecycle,
    Order,
    Standing,
    Stop,
    TaskRecord,
    whole,
)
from libsel4py.lowlevel.identify import identify
from servers.root.ahead import Ahead
from servers.root.authority import Authority
from servers.root.lives import Lives
from servers.root.orders import Orders
from servers.root.running_task import Life, RunningTask
from servers.root.supervisor import Essential

_log: Final = logging.getLogger(__name__)


class LifecycleService(Lifecycle):
    """Carries out what the reincarnation server decides."""

    def __init__(
        self,
        authority: Authority,
        system: System,
        tasks: list[RunningTask],
        lives: Lives,
        orders: Orders,
        ahead: Ahead,
    ) -> None:
        self._authority = authority
        self._system = system
        self._lives = lives
        self._orders = orders
        self._ahead = ahead
        self._tasks = {each.number: each for each in tasks if each.task is not system.reincarnation}
        self._numbers = {each.task.name: each.number for each in tasks}
        self._images = system.images
        self._parts: list[Change] = []  # of a step that is not told whole yet

    def tasks(self) -> list[TaskRecord]:
        self._ahead.end_all()  # a life of that server begins, which has allowed nothing yet
        self._parts.clear()
        return [self._record(running) for running in self._tasks.values()]

    def groups(self) -> list[Group]:
        return list(self._system.groups)

    def part(self, change: Change) -> None:
        self._parts.append(change)

    def change(self, change: Change) -> None:
        change = whole([*self._parts, change])
        self._parts.clear()
        self._ahead.end_all()
        followed = self._followed(change)
        if change.cause is not None and change.cause.task in self._tasks and followed is None:
            _note(self._tasks[change.cause.task], change.cause)
        for running in self._known((*change.ends, *change.leaves)):
            running.stop = None
        for running in self._known(change.ends):
            if running is not followed:
                self._end(running, change)
        if change.image and change.cause is not None:
            for running in self._known((change.cause.task,)):
                self._load(running, change.image)
        for number, due in change.waits:
            for running in self._known((number,)):
                self._wait_on(running, due)
        if change.renews:
            for running in self._known((*change.ends, *change.starts, *(number for number, _ in change.waits))):
                running.failed_at.clear()
                running.failures, running.renewed_at = 0, self._lives.clock()
        for running in self._known(change.starts):
            self._start(running)
        for running in self._known(change.leaves):
            self._leave(running, change)
        if change.ends or change.leaves:
            self._take_over_from_who_waits()

    def _followed(self, change: Change) -> RunningTask | None:
        """The task that ends for its own failure, if that is of its former life: its next one goes on.

        Not where it is given up, or its group begins anew: that is of this life as well.
        """
        cause = change.cause
        running = self._tasks.get(cause.task) if cause is not None and cause.task in change.ends else None
        if running is None or running.life is not Life.RUNNING or not self._orders.forget_restart(running.number):
            return None
        return None if change.renews or running.number in change.leaves else running

    def _take_over_from_who_waits(self) -> None:
        """Faults of tasks whose pager waits for one that is not to be started go to their supervisor meanwhile."""
        for running in self._tasks.values():
            if running.standing is Standing.WAITING and not self._comes_back(running):
                self._lives.take_over(running)

    def _comes_back(self, running: RunningTask) -> bool:
        """Whether a task runs, or will without an order."""
        if running.standing is not Standing.WAITING:
            return running.standing is not Standing.LEFT
        needed = (self._tasks.get(self._numbers[name]) for name in running.task.depends)
        return all(each is None or self._comes_back(each) for each in needed)

    def _known(self, numbers: tuple[int, ...]) -> list[RunningTask]:
        return [self._tasks[number] for number in numbers if number in self._tasks]

    def life(self, task: int) -> int:
        running = self._tasks.get(task)
        return 0 if running is None else 1 + running.restarts + (running.life is not Life.RUNNING)

    def came_up(self, task: int) -> None:
        for running in self._known((task,)):
            running.former_image = None
            running.events.append("its update has come up")

    def ask_to_stop(self, task: int, stop: Stop) -> None:
        self._ahead.end(task)
        running = self._tasks.get(task)
        if running is None or running.life is not Life.RUNNING:
            return
        running.stop = stop
        root, slot = self._authority.cnode, self._authority.slots.allocate()
        root.mint(slot, root, running.objects.notification.cptr, SIGNAL_BADGE | STOP_SIGNAL, Rights.WRITE)
        Notification(slot).signal()
        root.delete(slot)
        self._authority.slots.free(slot)

    def orders(self, done: int) -> list[Order]:
        return self._orders.look(done)

    def allow(self, done: int, allowed: list[Allowed], more: bool = False) -> bool:
        if not more:
            self._ahead.end_all()
        if self._orders.after(done):
            self._orders.ring()  # what was to be told later is asked for now
            self._ahead.end_all()
            return False
        self._ahead.allow(allowed)
        return True

    def end_system(self, task: int, status: int, why: str) -> None:
        name = self._tasks[task].task.name if task in self._tasks else "a task"
        _log.error("%s: %s", name, why)
        raise Essential(status)

    def _record(self, running: RunningTask) -> TaskRecord:
        task, images = running.task, self._images
        return TaskRecord(
            number=running.number,
            name=task.name,
            group=self._system.group(task.name).name,
            restart=task.restart,
            standing=running.standing,
            runs=running.life is Life.RUNNING and identify(running.objects.main.tcb.cptr).runs,
            essential=task.essential,
            asks_to_stop=bool(task.provides) and task.stop_timeout_us > 0,
            depends=tuple(self._numbers[name] for name in task.depends),
            pager=self._numbers[task.pager] if task.pager else None,
            heartbeat_us=task.heartbeat_us,
            first_heartbeat_us=task.first_heartbeat_us,
            stop_timeout_us=task.stop_timeout_us,
            failures=running.failures,
            due=running.due,
            started_at=running.started_at,
            renewed_at=running.renewed_at,
            failed_at=tuple(running.failed_at),
            complained_at=tuple(running.complained_at),
            back_at=running.back_at,
            complains_of=tuple(self._numbers[name] for name in task.complains_of),
            stop=running.stop,
            image=images[running.image],
            former_image="" if running.former_image is None else images[running.former_image],
        )

    def _end(self, running: RunningTask, change: Change) -> None:
        """End it; it waits for its start."""
        was_running = running.life is Life.RUNNING
        self._orders.forget_failure(running.number)
        self._lives.end(running)
        running.standing, running.due = Standing.WAITING, change.due
        if was_running:
            running.note(Life.DEAD, "dead: ended with its group", "ended with its group")
        if running.number not in (*change.starts, *change.leaves):
            wait = change.due - self._lives.clock()
            follows = f"is started again in {wait:.1f} s" if change.due else "waits for what it depends on"
            follows = f"waits for {change.asks}, {wait:.1f} s at most" if change.asks else follows
            running.follows(f"{running.state.replace('faulted', 'dead', 1)}; {follows}", follows)

    def _wait_on(self, running: RunningTask, due: float) -> None:
        """It does not run, and waits for that moment from now on."""
        if running.life is Life.RUNNING or running.standing is Standing.DONE:
            return
        if running.standing is not Standing.WAITING:
            running.events.append("waits for its start")
        running.standing, running.due = Standing.WAITING, due

    def _load(self, running: RunningTask, image: str) -> None:
        """Its lives from now on run this boot image, which its description must permit. It does not run now."""
        if image not in (running.task.image, *running.task.versions) or running.life is Life.RUNNING:
            return
        loaded = self._images.index(image)
        self._lives.forget_image(running)
        if loaded == running.former_image:
            running.events.append(f"{self._images[running.image]} did not come up")
        proven = running.image if running.former_image is None else running.former_image
        running.former_image = None if loaded == running.former_image else proven
        running.image = loaded
        running.events.append(f"runs {image} from now on")

    def _start(self, running: RunningTask) -> None:
        if running.life is Life.RUNNING:
            return
        running.standing, running.due = Standing.RUNNING, 0.0
        was = running.state
        self._lives.start_again(running)
        running.back_at = running.back_at or running.started_at
        _log.warning("%s was %s: it is started again", running.task.name, was)

    def _leave(self, running: RunningTask, change: Change) -> None:
        running.standing = Standing.LEFT
        if change.because:
            _log.error("%s is %s: it is %s", running.task.name, running.state, change.because)
            running.follows(f"{running.state}; {change.because}", change.because)
        self._lives.leave(running, by_order=change.by_order)


def _note(running: RunningTask, cause: Cause) -> None:
    """What has become of a task. Root has noted it where it was told first."""
    if cause.text and running.life is Life.RUNNING:
        life, what = (Life.FAULTED, "faulted") if cause.has_faulted else (Life.DEAD, "dead")
        running.note(life, f"{what}: {cause.text}", cause.text)
    if cause.forgives:
        running.failed_at.clear()
    if cause.failed_at:
        running.failed_at.append(cause.failed_at)
    if cause.is_complaint:
        running.complained_at.append(cause.failed_at)
        running.back_at = 0.0
    running.failures = cause.failures
