"""What root does when a task faults or ends: note it, start it again if its description says so, or end the system.

A thread whose process has ended starts anew from its registers when it is resumed. A task that is not restarted is left
faulted, with everything that it holds, so that `why` and `inspect` can show it.
"""

from __future__ import annotations

import os

from libsel4py import abi
from libsel4py.abi import ExceptionNumber, FaultLabel
from libsel4py.description import Restart
from libsel4py.environment import Slot
from servers.root import objects as task_objects
from servers.root.authority import Authority
from servers.root.builder import RunningTask, Sender

KILLED = 137  # exit status of what SIGKILL ended, as shells have it


class Essential(SystemExit):
    """An essential task has ended for good: root ends with its exit status, and the system with root."""


def exit_status(wait_status: int) -> int:
    """The shell's view of a wait status: the exit code, or 128 and the signal's number."""
    code = os.waitstatus_to_exitcode(wait_status)
    return code if code >= 0 else 128 - code


def describe_fault(label: int, words: tuple[int, ...]) -> str:
    """A fault message as a sentence."""
    match label:
        case FaultLabel.CAP_FAULT:
            phase = "receiving" if words[2] else "sending"
            kind = abi.LookupFailureKind(words[3]).name.lower().replace("_", " ")
            return f"capability fault while {phase} at address {words[1]:#x}: {kind}"
        case FaultLabel.UNKNOWN_SYSCALL:
            return "unknown system call"
        case FaultLabel.USER_EXCEPTION if words[3] == ExceptionNumber.DEATH:
            status = exit_status(words[4])
            return "ended" if status == 0 else f"ended with status {status}"
        case FaultLabel.USER_EXCEPTION:
            return f"exception {words[3]}, code {words[4]:#x}"
        case _:
            return f"fault {label}"


class Supervisor:
    """Handles the faults of all tasks."""

    def __init__(self, authority: Authority, tasks: list[RunningTask]) -> None:
        self._authority = authority
        self._tasks = tasks

    def start_all(self) -> None:
        """Start every task, in start order."""
        for running in self._tasks:
            task_objects.start(running.objects, running.image)
            self._note(running, "running", "started")

    def exited(self, number: int, code: int) -> None:
        """A task has said that its work is done; its process's end follows."""
        self._note(self._tasks[number], "running", f"said that it is done, with status {code}")

    def fault(self, sender: Sender, label: int, words: tuple[int, ...]) -> None:
        """A thread has faulted, and waits. An ended process is started again if its description says so.

        A process's end is told for each of its threads; the first thread's counts.

        Raises:
            Essential: the system is to end.
        """
        running = self._tasks[sender.number]
        text = describe_fault(label, words)
        died = label == FaultLabel.USER_EXCEPTION and words[3] == ExceptionNumber.DEATH
        if died and sender.thread:
            return
        if not died:
            self._note(running, f"faulted: {text}", f"thread {sender.thread}: {text}")
            if running.task.essential:
                raise Essential(1)
            return
        running.status = words[4]
        self._note(running, f"dead: {text}", text)
        again = running.task.restart is Restart.ALWAYS
        again |= running.task.restart is Restart.ON_FAILURE and exit_status(words[4]) != 0
        if again:
            self._restart(running)
        elif running.task.essential:
            raise Essential(exit_status(words[4]))

    def kill(self, running: RunningTask) -> None:
        """End a task's process without asking it, by destroying its threads; its restart policy decides what follows.

        Raises:
            Essential: the system is to end.
        """
        running.objects = task_objects.remake_threads(self._authority, running.task, running.objects, running.faults)
        self._note(running, "dead: killed", "killed by order")
        if running.task.restart is not Restart.NEVER:
            self._restart(running)
        elif running.task.essential:
            raise Essential(KILLED)

    def _restart(self, running: RunningTask) -> None:
        self._clean(running)
        running.restarts += 1
        task_objects.start(running.objects, running.image)
        self._note(running, "running", f"started again ({running.restarts})")

    def _clean(self, running: RunningTask) -> None:
        """Take away what the ended process had made and received, so that the new one finds what the first one did."""
        objects, environment = running.objects, running.environment
        if objects.pool:
            objects.cnode.revoke(Slot.POOL, objects.cnode_bits)
        first = environment.first_free_slot
        for slot in range(first, first + environment.free_slots):
            objects.cnode.delete(slot, objects.cnode_bits)

    def _note(self, running: RunningTask, state: str, event: str) -> None:
        running.state = state
        running.events.append(event)
