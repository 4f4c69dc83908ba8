"""What root does when a task faults or ends: note it, start it again if its description says so, or end the system.

Rules. A thread's fault that nobody answers is the end of its task, as its process's end is. Starting a task again makes
its threads anew: no old one can run on beside them, and a process begins with its first thread. A task that said that
it is done is not started again. One that ends again and again is given up. What is not started again is left as it is,
with everything that it holds, so that `why` and `inspect` can show it; those who wait for its answers are told.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from typing import Final

from libsel4py import abi
from libsel4py.abi import ExceptionNumber, FaultLabel, ObjectType, PageFault
from libsel4py.capabilities import Endpoint, Reply
from libsel4py.description import Restart
from libsel4py.environment import PAGED_BADGE
from libsel4py.errors import Timeout
from libsel4py.lowlevel.syscalls import Message
from libsel4py.wire import Outcome
from servers.root import leftovers
from servers.root import objects as task_objects
from servers.root.authority import Authority
from servers.root.running_task import THREAD_MASK, THREAD_SHIFT, Kind, Life, RunningTask, Sender

KILLED: Final = 137  # exit status of what SIGKILL ended, as shells have it
CANNOT_START: Final = 126  # exit status of what never had a process, or whose image did not load
FAULTED: Final = 1  # exit status of a system that ends because an essential task has faulted

# What cannot even start ends within some milliseconds, and starting it again for ever would take a processor from
# the others; a fault that comes now and then (ten times in ten seconds is still survived) is what restarts are for.
MOST_RESTARTS: Final = 10
RESTART_SECONDS: Final = 10.0
PAGER_SECONDS: Final = 0.1  # how long a pager may take to hear that a task of its ends; root answers nobody meanwhile

_log = logging.getLogger(__name__)


class Essential(SystemExit):
    """An essential task has ended for good: root ends with its exit status, and the system with root."""


def exit_status(wait_status: int) -> int:
    """The shell's view of a wait status: the exit code, or 128 and the signal's number."""
    code = os.waitstatus_to_exitcode(wait_status)
    return code if code >= 0 else 128 - code


def is_death(label: int, words: tuple[int, ...]) -> bool:
    """Whether a fault message says that a thread has ended."""
    return label == FaultLabel.USER_EXCEPTION and words[3] == ExceptionNumber.DEATH


def is_guarded(label: int, words: tuple[int, ...]) -> bool:
    """Whether a fault message is of an access that can fail: the thread goes on where nobody brings it the memory."""
    return label == FaultLabel.VM_FAULT and bool(words[3] & PageFault.GUARDED)


def describe_fault(label: int, words: tuple[int, ...]) -> str:
    """A fault message as a sentence."""
    match label:
        case FaultLabel.CAP_FAULT:
            phase = "receiving" if words[2] else "sending"
            kind = abi.LookupFailureKind(words[3]).name.lower().replace("_", " ")
            return f"capability fault while {phase} at address {words[1]:#x}: {kind}"
        case FaultLabel.UNKNOWN_SYSCALL:
            return "unknown system call"
        case FaultLabel.VM_FAULT:
            kind = "write to" if words[3] & PageFault.WRITE else "read from"
            return f"no memory to {kind} at address {words[1]:#x}, instruction {words[0]:#x}"
        case FaultLabel.USER_EXCEPTION if is_death(label, words):
            status = exit_status(words[4])
            return "ended" if status == 0 else f"ended with status {status}"
        case FaultLabel.USER_EXCEPTION:
            return f"exception {words[3]}, code {words[4]:#x}"
        case _:
            return f"fault {label}"


def where_to_read(name: str, status: int) -> str:
    """Where a person finds what an ended task had to say; nothing where it had not the time to say anything."""
    if status == CANNOT_START:
        return ": it could not be started, and `sel4py logs zygote` says why"
    return f": `sel4py logs {name}` has what it wrote" if 0 < status < 128 else ""


class Supervisor:
    """Handles the ends of all tasks.

    Args:
        clock: seconds that never go back.
    """

    def __init__(
        self, authority: Authority, tasks: list[RunningTask], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._authority = authority
        self._tasks = tasks
        self._clock = clock

    def start_all(self) -> None:
        """Start every task, in start order."""
        for running in self._tasks:
            self._start(running, "started")

    def exited(self, number: int, code: int) -> None:
        """A task has said that its work is done: it is ended, for good.

        Raises:
            Essential: the system is to end, with this status.
        """
        running = self._tasks[number]
        self._end_threads(running)
        self._clear(running)
        self._take_over(running)
        running.note(Life.DONE, f"dead: done, with status {code}", f"said that it is done, with status {code}")
        if running.task.essential:
            raise Essential(code)

    def fault(self, sender: Sender, label: int, words: tuple[int, ...]) -> None:
        """A thread has faulted, and waits; or has ended, which is told for each thread of a process that ends.

        Raises:
            Essential: the system is to end.
        """
        running = self._tasks[sender.number]
        died = is_death(label, words)
        status = exit_status(words[4]) if died else FAULTED
        if running.is_over or (died and sender.thread and not status):
            return  # a process's further threads are told of behind its first; a thread may end when its work is done
        text = describe_fault(label, words)
        if sender.thread or not died:
            running.note(Life.FAULTED, f"faulted: {text}", f"thread {sender.thread}: {text}")
        else:
            running.note(Life.DEAD, f"dead: {text}", text + where_to_read(running.task.name, status))
        again = running.task.restart is Restart.ALWAYS or (running.task.restart is Restart.ON_FAILURE and status != 0)
        self._go_on(running, again, status)

    def kill(self, running: RunningTask) -> None:
        """End a task's process without asking it; its restart policy decides what follows.

        One that was given up is so started again: somebody has looked after it.

        Raises:
            Essential: the system is to end.
        """
        if running.life is Life.DONE:
            return
        running.note(Life.DEAD, "dead: killed", "killed by order")
        running.restarted_at.clear()
        again = running.task.restart is not Restart.NEVER
        if not again:
            self._end_threads(running)
        self._go_on(running, again, KILLED)

    def _go_on(self, running: RunningTask, again: bool, status: int) -> None:
        """After a task's end: a new life, the system's end, or nothing."""
        if again and self._may_restart(running):
            self._restart(running)
        elif running.task.essential:
            raise Essential(status)
        elif running.life is Life.DEAD:
            self._clear(running)
            self._take_over(running)

    def _may_restart(self, running: RunningTask) -> bool:
        """Whether it may be started again now; if not, its state says so."""
        now, recent = self._clock(), running.restarted_at
        while recent and now - recent[0] >= RESTART_SECONDS:
            recent.popleft()
        if len(recent) < MOST_RESTARTS:
            return True
        given_up = f"given up after {MOST_RESTARTS} restarts within {RESTART_SECONDS:.0f} s"
        _log.error("%s is %s: it was %s", running.task.name, running.state, given_up)
        if running.life is Life.FAULTED:
            self._end_threads(running)
        running.note(Life.DEAD, f"{running.state}; {given_up}, kill starts it again", given_up)
        return False

    def _restart(self, running: RunningTask) -> None:
        _log.warning("%s is %s: it is started again", running.task.name, running.state)
        self._end_threads(running)
        self._clear(running)
        running.restarts += 1
        running.restarted_at.append(self._clock())
        self._start(running, f"started again ({running.restarts})")

    def _clear(self, running: RunningTask) -> None:
        """Take back what the task had: whoever serves it sees that the memory which it had lent is gone."""
        occupied = leftovers.answer_callers(self._authority, running.objects)
        leftovers.clear(running.objects, running.environment.first_free_slot, occupied)

    def _start(self, running: RunningTask, event: str) -> None:
        task_objects.start(running.objects, running.image)
        running.note(Life.RUNNING, "running", event)
        for client in self._paged_by(running):
            self._send_faults_to(client, client.paged_faults)

    def _end_threads(self, running: RunningTask) -> None:
        """Destroy the task's threads, and so its process; new ones stand ready."""
        running.consumed_us()
        if running.faults == running.paged_faults:
            self._tell_pager(running)
        running.objects = task_objects.remake_threads(self._authority, running.task, running.objects, running.faults)

    def _tell_pager(self, running: RunningTask) -> None:
        """Say for each thread that it ends, so that its successor finds no memory of its; a pager that is busy or dead
        is not waited for: it looks after that when it starts."""
        for fault in running.faults:
            try:
                fault.send(Message(FaultLabel.NULL_FAULT), timeout=PAGER_SECONDS)
            except Timeout:
                _log.warning("%s, the pager of %s, does not listen", running.task.pager, running.task.name)
                return

    # --- when a pager ends for good ---------------------------------------------------------------------------

    def _paged_by(self, pager: RunningTask) -> list[RunningTask]:
        return [each for each in self._tasks if each.task.pager == pager.task.name]

    def _take_over(self, pager: RunningTask) -> None:
        """Faults of the tasks that it was the pager of come to root from now on, and those that it has not taken."""
        clients = self._paged_by(pager)
        endpoint = pager.objects.endpoint
        if not clients or endpoint is None:
            return
        for client in clients:
            self._send_faults_to(client, client.own_faults)
        reply = Reply(self._authority.make("root", ObjectType.REPLY))
        try:
            while (received := endpoint.nb_recv(reply)) is not None:
                senders = [each for each in clients if received.badge & THREAD_MASK == each.number]
                if received.badge & PAGED_BADGE and senders:
                    thread = (received.badge ^ PAGED_BADGE) >> THREAD_SHIFT
                    if is_guarded(received.label, received.words):
                        reply.send(Message(1))
                    else:  # not answered: the next receive, or the reply object's end, leaves it stopped
                        self.fault(Sender(Kind.FAULT, senders[0].number, thread), received.label, received.words)
                else:
                    reply.send(Message(Outcome.SERVER_DIED))
        finally:
            self._authority.free(reply.cptr)

    def _send_faults_to(self, client: RunningTask, faults: tuple[Endpoint, ...]) -> None:
        if client.faults == faults:
            return
        client.faults = faults
        objects = client.objects
        for thread, fault in zip(objects.threads, faults, strict=True):
            thread.tcb.set_space(fault, objects.cnode, objects.guard, objects.vspace, 0)
