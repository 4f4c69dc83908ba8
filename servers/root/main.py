"""The root server: the initial task. Builds the system that its description says, then serves as everybody's parent.

It holds all authority and gives each task exactly what the description names. Its process's end is the system's end,
with its exit status; so it ends when an essential task does.
"""

from __future__ import annotations

import ctypes
import logging

from msgspec.structs import replace

from libsel4py import description
from libsel4py.abi import BOOT_INFO_FRAME_BITS, ObjectType, Rights, message_info
from libsel4py.capabilities import Endpoint, Notification, Reply
from libsel4py.environment import HEARTBEAT_SIGNAL, SIGNAL_BADGE, Environment
from libsel4py.fault_reports import is_guarded
from libsel4py.heartbeats import Heartbeats, Pulse
from libsel4py.interfaces.lifecycle import ORDERS_SIGNAL
from libsel4py.interfaces.parent import Parent
from libsel4py.lowlevel import bootinfo
from libsel4py.lowlevel.machine import Words
from libsel4py.runtime import log_to_stderr
from libsel4py.server import Server
from libsel4py.task import Task, set_current_task
from servers.root.ahead import Ahead
from servers.root.authority import Authority
from servers.root.builder import Builder
from servers.root.information import Information
from servers.root.lifecycle import LifecycleService
from servers.root.lives import Lives
from servers.root.orders import Orders
from servers.root.replay import empty_free_slots, replayed
from servers.root.running_task import Kind, RunningTask, Sender, badge_of
from servers.root.supervisor import Essential, Supervisor

NAME = "root"
SECOND_US = 1e6
NO_MEMORY: Words = (message_info(1), 0, 0, 0, 0)  # the answer to a VM fault that nobody resolves


class Root(Parent):
    """Answers every task as its parent, and all faults."""

    def __init__(self, tasks: list[RunningTask], supervisor: Supervisor, lives: Lives) -> None:
        self._tasks = tasks
        self._lives = lives
        self._supervisor = supervisor

    def environment(self) -> Environment:
        sender = Sender.of(self.caller.badge)
        running = self._tasks[sender.number]
        if sender.kind is Kind.STANDBY:
            return replace(running.environment, stands_by=True)
        return with_outlived(running.environment, self._lives.outlived(running))

    def exit(self, code: int) -> None:
        sender = Sender.of(self.caller.badge)
        if sender.kind is Kind.STANDBY:  # it does not speak for the task
            self._lives.standbys.ended(self._tasks[sender.number])
        else:
            self._supervisor.exited(sender.number, code)

    def fault(self, badge: int, label: int, words: tuple[int, ...]) -> Words | None:
        """A fault message. It is not answered: a thread that is to go on is started anew.

        But a guarded access is: with a label that says that nobody brings the memory, and it raises.
        """
        sender = Sender.of(badge)
        if sender.kind in (Kind.FAULT, Kind.STANDBY_FAULT) and is_guarded(label, words):
            return NO_MEMORY
        if sender.kind is Kind.STANDBY_FAULT:
            self._lives.standbys.ended(self._tasks[sender.number])
        if sender.kind is Kind.FAULT:
            self._supervisor.fault(sender, label, words)
        return None


def with_outlived(environment: Environment, outlived: dict[str, tuple[int, ...]]) -> Environment:
    """A pager's environment, with what it is to know of threads that have run since a former life of it."""
    if not outlived:
        return environment
    paged = dict(environment.paged)
    for name, threads in outlived.items():
        badges = tuple(paged[name].supervisors)
        paged[name] = replace(paged[name], outlived=tuple(badges[number] for number in threads))
    return replace(environment, paged=paged)


def main(boot_info_address: int, *_: int) -> None:
    """Boot the system.

    Raises:
        SystemExit: the system is to end, with this status.
    """
    log_to_stderr(NAME)
    log = logging.getLogger(NAME)
    info = bootinfo.parse(ctypes.string_at(boot_info_address, 1 << BOOT_INFO_FRAME_BITS))
    system = description.unpack(info.system_description)
    authority = Authority.from_boot_info(info, strict=system.cores > 0)
    with replayed(info.resumed is not None):
        reply = Reply(authority.make(NAME, ObjectType.REPLY))
        endpoint = Endpoint(authority.make(NAME, ObjectType.ENDPOINT))
        notification = Notification(authority.make(NAME, ObjectType.NOTIFICATION))
        authority.tcb.bind_notification(notification)
        own = _own_task(authority)
        set_current_task(own)
        tasks = Builder(authority, system, endpoint).build()
        lives = Lives(authority, tasks)
        reincarnation = next((each for each in tasks if each.task is system.reincarnation), None)
        orders = Orders(None if reincarnation is None else _bell(authority, reincarnation, ORDERS_SIGNAL))
        ahead = Ahead(tasks)
        heartbeats = heartbeats_of(authority, reincarnation)
        supervisor = Supervisor(lives, tasks, orders, reincarnation, heartbeats, ahead)
        server = Server(endpoint, own)
        _provide(server, authority, system, tasks, supervisor, lives)
        if reincarnation is not None:
            clients = {badge_of(Kind.LIFECYCLE, reincarnation.number): reincarnation.task.name}
            service = LifecycleService(authority, system, tasks, lives, orders, ahead)
            server.provide(service, name="lifecycle", clients=clients)
    if info.resumed is None:
        supervisor.start_all()
    else:
        empty_free_slots(authority)
        supervisor.resume_all(info.resumed)
    server.alarm = supervisor.alarm
    log.info("%s: %d tasks %s", system.name, len(tasks), "started" if info.resumed is None else "resumed")
    try:
        server.serve(reply)
    except Essential as ended:
        log.info("an essential task has ended: the system ends with status %s", ended.code)
        raise


def heartbeats_of(authority: Authority, reincarnation: RunningTask | None) -> Heartbeats:
    """How root asks the reincarnation server whether it serves, if its description has heartbeats."""
    if reincarnation is None or not reincarnation.task.heartbeat_us:
        return Heartbeats({})
    asked = _bell(authority, reincarnation, HEARTBEAT_SIGNAL)
    pulse = Notification(reincarnation.objects.placed[reincarnation.environment.pulse].cptr)
    number, task = reincarnation.number, reincarnation.task
    questions = {number: (Pulse(asked, pulse), task.heartbeat_us / SECOND_US)}
    return Heartbeats(questions, {number: task.first_heartbeat_us / SECOND_US})


def _bell(authority: Authority, reincarnation: RunningTask, signal: int) -> Notification:
    """What tells the reincarnation server that there are orders, or asks whether it serves."""
    slot = authority.slots.allocate()
    notification, badge = reincarnation.objects.notification.cptr, SIGNAL_BADGE | signal
    authority.cnode.mint(slot, authority.cnode, notification, badge, Rights.WRITE)
    return Notification(slot)


def _own_task(authority: Authority) -> Task:
    """Root as a task of its own: the runtime's idea of slots and memory is root's allocators."""
    task = Task(Environment(NAME))
    task.cnode, task.tcb = authority.cnode, authority.tcb
    task.slots, task.memory = authority.slots, authority.memory
    return task


def _provide(
    server: Server,
    authority: Authority,
    system: description.System,
    tasks: list[RunningTask],
    supervisor: Supervisor,
    lives: Lives,
) -> None:
    """Let root's one endpoint answer every task as its parent, those that may as `System`, and all faults."""
    root = Root(tasks, supervisor, lives)
    parents = {badge_of(Kind.PARENT, running.number): running.task.name for running in tasks}
    parents |= {badge_of(Kind.STANDBY, each.number): each.task.name for each in tasks if each.task.standby}
    server.provide(root, Parent, name="parent", clients=parents)
    granted = {
        badge_of(Kind.SYSTEM, running.number): running.task.name
        for running in tasks
        if description.Grant.SYSTEM_INFORMATION in running.task.grants
    }
    information = Information(authority, system, tasks, supervisor)
    server.provide(information, name="system", clients=granted)
    server.on_stranger(root.fault)
