"""Root's own supervision: of every task where the description has no reincarnation server, else of that server.

Rules. A thread's fault that nobody answers is the end of its task, as its process's end is. A task that said that it is
done is not started again. One that ends again and again is given up: and if that is the reincarnation server, this rule
is the others', from then on. What the reincarnation server has allowed ahead is started again at once, and that server
is told behind it (`ahead.py`). It is asked by heartbeats, as it asks the others: one that hangs would let nobody be
started again.
"""

from __future__ import annotations

import logging
from collections.abc import Container
from typing import Final

from msgspec.structs import replace

from libsel4py.abi import FaultLabel
from libsel4py.description import Restart
from libsel4py.environment import PAGED_BADGE
from libsel4py.fault_reports import FAULTED, KILLED, describe_fault, exit_status, is_by_signal, is_death, where_to_read
from libsel4py.heartbeats import HUNG, Heartbeats
from libsel4py.interfaces.lifecycle import Order, OrderKind, Standing, Stop, fault_source
from libsel4py.interfaces.system import NotPermitted
from libsel4py.server import Alarm
from servers.root.ahead import Ahead
from servers.root.lives import Lives
from servers.root.orders import Orders
from servers.root.running_task import Kind, Life, RunningTask, Sender

# What cannot even start ends within some milliseconds, and starting it again for ever would take a processor from
# the others; a fault that comes now and then (ten times in ten seconds is still survived) is what restarts are for.
MOST_RESTARTS: Final = 10
RESTART_SECONDS: Final = 10.0
# Nobody is harmed while the reincarnation server is away, for the milliseconds that its start takes: what it is to be
# told of waits for it. So a storm of its ends is survived which would be no other task's restart any more.
MOST_REINCARNATIONS: Final = 200

ENDS: Final = (OrderKind.QUIT, OrderKind.FAILED, OrderKind.KILLED)  # what orders tell of that nobody has seen to

_log = logging.getLogger(__name__)


class Essential(SystemExit):
    """An essential task has ended for good: root ends with its exit status, and the system with root."""


class Supervisor:
    """Handles the ends of all tasks.

    Args:
        orders: to whom the ends of supervised tasks are told that root hears of.
        reincarnation: the task that supervises the others; None: there is none. heartbeats: how it is asked whether it
        serves, if it is; whoever serves gives `alarm` its time. ahead: whom it lets root start again at once.
    """

    def __init__(
        self,
        lives: Lives,
        tasks: list[RunningTask],
        orders: Orders,
        reincarnation: RunningTask | None = None,
        heartbeats: Heartbeats | None = None,
        ahead: Ahead | None = None,
    ) -> None:
        self._lives = lives
        self._tasks = tasks
        self._orders = orders
        self._reincarnation = reincarnation
        self._heartbeats = heartbeats or Heartbeats({})
        self._ahead = ahead or Ahead(tasks)
        lives.faulted = self.fault

    @property
    def alarm(self) -> Alarm | None:
        """What is to be done in time; None if nobody else supervises, and nothing stands by for anybody."""
        stand_by = any(running.objects.spare is not None for running in self._tasks)
        return Alarm(self._next_due, self._ring) if stand_by or self._reincarnation is not None else None

    def _next_due(self) -> float:
        made = (each.next_due for each in self._lives.made_ahead)
        return min(*made, self._heartbeats.next_due(), self._orders.next_due)

    def _ring(self) -> None:
        for each in self._lives.made_ahead:
            if each.next_due <= self._lives.clock():
                each.make_all()
        if self._orders.next_due <= self._lives.clock():
            self._orders.ring()
        self.look()

    def is_ours(self, running: RunningTask) -> bool:
        """Whether root itself decides what follows its end."""
        return self._reincarnation is None or running is self._reincarnation

    def start_all(self) -> None:
        """Start every task, in start order; the one that supervises the others first."""
        for running in sorted(self._tasks, key=lambda each: each is not self._reincarnation):
            self._lives.start(running, "started")
            self._ask(running)

    def resume_all(self, ran: Container[int]) -> None:
        """Let those tasks begin their next life that ran when the system was suspended; the others are over.

        ``ran``: the slots of the threads that did. No process of any task exists: nobody is told of an end. Of a task
        that another process stood by for, either is enough: it may have died just then, and not been taken over.
        """
        for running in self._tasks:
            self._lives.find_closed(running)
        for running in self._tasks:
            self._lives.end_unheard(running)
        again = [each for each in self._tasks if any(body.threads[0].tcb.cptr in ran for body in each.objects.bodies)]
        for running in self._tasks:
            if running not in again:
                running.standing = Standing.DONE
                running.note(Life.DONE, "dead: was over when the system was suspended", "not resumed: it was over")
                self._lives.take_over(running)
        if self._reincarnation is not None and self._reincarnation not in again:
            self.take_over()
        for running in sorted(again, key=lambda each: each is not self._reincarnation):
            self._lives.start(running, "resumed")
            self._ask(running)

    def exited(self, number: int, code: int) -> None:
        """A task has said that its work is done: it is ended, for good. But an update that has not come up is not at
        liberty to say so of the server whose place it takes: it has failed, and its former image is to come back.

        Raises:
            Essential: the system is to end, with this status.
        """
        running = self._tasks[number]
        self._ahead.end(number)
        self._lives.end(running)
        if running.former_image is not None and not self.is_ours(running):
            text = f"said that it is done, with status {code}, before it had come up"
            running.note(Life.DEAD, f"dead: {text}", text)
            self._tell(running, OrderKind.QUIT, code, text)
            return
        self._lives.end_standby(running)
        self._lives.take_over(running)
        if running is not self._reincarnation:
            self._lives.close_endpoint(running)
        running.standing = Standing.DONE
        running.note(Life.DONE, f"dead: done, with status {code}", f"said that it is done, with status {code}")
        if running.task.essential:
            raise Essential(code)
        self._tell(running, OrderKind.DONE, code)

    def fault(self, sender: Sender, label: int, words: tuple[int, ...]) -> None:
        """A thread has faulted, and waits; or has ended, which is told for each thread of a process that ends.

        Raises:
            Essential: the system is to end.
        """
        running = self._tasks[sender.number]
        died = is_death(label, words)
        status = exit_status(words[4]) if died else FAULTED
        is_gone = died and is_by_signal(words[4])
        if running.is_over or (died and sender.thread and not status):
            return  # a process's further threads are told of behind its first; a thread may end when its work is done
        text = describe_fault(label, words)
        if label == FaultLabel.VM_FAULT:
            text += self._lives.why_unpaged(running)
        if sender.thread or not died:
            running.note(Life.FAULTED, f"faulted: {text}", f"thread {sender.thread}: {text}")
        else:
            running.note(Life.DEAD, f"dead: {text}", text + where_to_read(running.task.name, status))
        if not self.is_ours(running):
            if not self._go_ahead(running, status, text, is_gone):
                self._tell(running, OrderKind.FAILED, status, text)
            return
        again = running.task.restart is Restart.ALWAYS or (running.task.restart is Restart.ON_FAILURE and status != 0)
        self._go_on(running, again, status, is_gone)

    def kill(self, running: RunningTask) -> None:
        """End a task's process without asking it; its restart policy decides what follows.

        One that was given up is so started again: somebody has looked after it.

        Raises:
            Essential: the system is to end.
        """
        if running.life is Life.DONE:
            return
        self._ahead.end(running.number)
        running.note(Life.DEAD, "dead: killed", "killed by order")
        running.restarted_at.clear()
        again = running.task.restart is not Restart.NEVER
        if not self.is_ours(running):
            self._lives.end(running)
            self._tell(running, OrderKind.KILLED, KILLED)
            return
        if not again:
            self._lives.end_threads(running)
        self._go_on(running, again, KILLED)

    def order(self, running: RunningTask, kind: OrderKind, text: str = "") -> None:
        """Hand an order on to the reincarnation server. Raises NotPermitted: the task is supervised here."""
        if self.is_ours(running):
            raise NotPermitted(f"root itself supervises {running.task.name}, and knows only kill")
        self._ahead.end(running.number)
        self._orders.add(kind, running.number, text=text)

    def _go_ahead(self, running: RunningTask, status: int, text: str, is_gone: bool) -> bool:
        """Start it again, if that is allowed ahead, and tell of it behind that. What is kept is as it would be."""
        allowed = self._ahead.take(running, status)
        if allowed is None:
            return False
        was, now = running.state, self._lives.clock()
        running.failed_at.append(now)
        running.failures = allowed.failures
        self._lives.renew(running, is_told=True, is_gone=is_gone)
        _log.warning("%s was %s: it is started again", running.task.name, was)
        self._orders.tell_later(OrderKind.RESTARTED, running.number, status, text, now)
        return True

    def _tell(self, running: RunningTask, kind: OrderKind, status: int, text: str = "") -> None:
        if not self.is_ours(running):
            self._ahead.end_all()  # what it counts until now is not what it allowed others for
            self._orders.add(kind, running.number, status, text)

    def _go_on(self, running: RunningTask, again: bool, status: int, is_gone: bool = False) -> None:
        """After a task's end: a new life, the system's end, or nothing. ``is_gone``: as of `Lives.renew`."""
        if running is self._reincarnation:
            self._reincarnate(running, is_gone)
        elif again and self._may_restart(running, MOST_RESTARTS):
            self._restart(running, is_gone)
        elif running.task.essential:
            raise Essential(status)
        else:
            self._lives.leave(running)

    def _may_restart(self, running: RunningTask, most: int) -> bool:
        """Whether it may be started again now; if not, its state says so."""
        now, recent = self._lives.clock(), running.restarted_at
        while recent and now - recent[0] >= RESTART_SECONDS:
            recent.popleft()
        if len(recent) < most:
            return True
        given_up = f"given up after {most} restarts within {RESTART_SECONDS:.0f} s"
        _log.error("%s is %s: it was %s", running.task.name, running.state, given_up)
        if running.life is Life.FAULTED:
            self._lives.end_threads(running)
        running.note(Life.DEAD, f"{running.state}; {given_up}, kill starts it again", given_up)
        return False

    def _restart(self, running: RunningTask, is_gone: bool = False) -> None:
        _log.warning("%s is %s: it is started again", running.task.name, running.state)
        running.restarted_at.append(self._lives.clock())
        self._lives.renew(running, is_gone=is_gone)
        self._ask(running)

    # --- the reincarnation server -------------------------------------------------------------------------------------

    def _ask(self, running: RunningTask) -> None:
        """A life has begun: of those that are asked by root whether they serve, this one is."""
        self._heartbeats.begin(running.number, self._lives.clock())

    def look(self) -> None:
        """See whether the reincarnation server serves; one that hangs is ended, and started again.

        Raises:
            Essential: the system is to end.
        """
        for number in self._heartbeats.look(self._lives.clock()):
            running = self._tasks[number]
            running.note(Life.DEAD, f"dead: {HUNG}", HUNG)
            self._reincarnate(running)

    def _reincarnate(self, running: RunningTask, is_gone: bool = False) -> None:
        """Start it again, whatever its own policy says: others rely on it."""
        if self._may_restart(running, MOST_REINCARNATIONS):
            self._restart(running, is_gone)
        else:
            self.take_over()

    def take_over(self) -> None:
        """There is no reincarnation server any more: all tasks are supervised here, and what it has left is done.

        Raises:
            Essential: the system is to end.
        """
        ended, self._reincarnation = self._reincarnation, None
        self._ahead.end_all()
        if ended is None:
            return
        self._heartbeats.end(ended.number)
        _log.error("%s is gone for good: root supervises by its own rule", ended.task.name)
        self._lives.clear(ended)
        for running in self._tasks:
            faults = running.own_faults
            if running.faults == running.home_faults:
                self._lives.send_faults_to(running, faults)
            running.home_faults = faults
            self._lives.tell_pager_of_home(running)
        stopped = self._end_stopping()
        self._lives.drain(ended, self._supervised_sender)
        for order in self._orders.take_all():
            if order.kind not in ENDS or order.task not in stopped:
                self._settle(order)
        self._end_stopping()
        for running in self._tasks:
            if running.standing is Standing.WAITING:
                running.standing = Standing.RUNNING
                self._lives.start_again(running)

    def _supervised_sender(self, badge: int) -> Sender | None:
        source = None if badge & PAGED_BADGE else fault_source(badge)
        known = source is not None and source[0] < len(self._tasks)
        return Sender(Kind.FAULT, *source) if known and source is not None else None

    def _settle(self, order: Order) -> None:
        """Something that the reincarnation server was to look after."""
        running = self._tasks[order.task]
        match order.kind:
            case OrderKind.STOP | OrderKind.RESTART | OrderKind.UPDATE if running.life is not Life.DONE:
                restarts = order.kind is not OrderKind.STOP
                running.stop = Stop(self._lives.clock(), restarts, order.text)
            case OrderKind.START if running.standing is Standing.LEFT:
                running.standing = Standing.WAITING
            case OrderKind.START if running.stop is not None:
                running.stop = replace(running.stop, restarts=True)
            case kind if kind in ENDS and running.life is not Life.RUNNING and running.stop is None:
                # If it waited, it does no more: what follows is its start, or giving it up.
                running.standing = Standing.RUNNING
                if order.kind is OrderKind.QUIT:
                    self._lives.lead_back(running)
                    self._restart(running)
                else:
                    always = running.task.restart is Restart.ALWAYS
                    again = always or (running.task.restart is Restart.ON_FAILURE and order.status != 0)
                    self._go_on(running, again, order.status)

    def _end_stopping(self) -> set[int]:
        """End those that were to stop: nobody is there any more who would ask them, or wait until they have.

        Returns their numbers. One that was to begin again with another boot image keeps the one that it has: nobody
        would see it come up.
        """
        stopped: set[int] = set()
        for running in self._tasks:
            stop, running.stop = running.stop, None
            if stop is None or running.life is Life.DONE:
                continue
            stopped.add(running.number)
            self._lives.end(running)
            running.note(Life.DEAD, "dead: stopped by order", "stopped by order")
            if stop.image:
                running.events.append(f"does not run {stop.image}: root itself supervises it")
            running.standing = Standing.WAITING if stop.restarts else Standing.LEFT
            if not stop.restarts:
                self._lives.leave(running, by_order=True)
        return stopped
