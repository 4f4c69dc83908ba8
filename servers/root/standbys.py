"""Processes that stand by: each waits, loaded and in its sandbox, to go on in the place of a task's that has ended.

Until then it has a CNode of its own with two capabilities: one to ask for its environment, and one to wait with. All
that the task has is given to it at once, when it takes over: its thread is put into the task's CNode. So what is wrong
with it, hostile or not, can harm nobody before; and afterwards it is a life of the task like any other.

Rules. It takes over when the former process's threads are destroyed, which the kernel lets end when that runs no more;
or when the kernel has told that a signal ended that process: then its thread, which has nothing left, is destroyed by
`make_all`, since somebody may wait for the next life. A process that has told of its end itself (EXIT) may run on. One
that stands by and ends by itself is made again, `MOST_ENDS` times within `ENDS_SECONDS`. It may be told to take over at
any moment, however far it has come: a signal waits for it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

from libsel4py.abi import STANDBY_SUFFIX, ObjectType
from libsel4py.capabilities import Endpoint
from libsel4py.environment import Slot
from libsel4py.errors import KernelError
from libsel4py.interfaces.lifecycle import FOREVER
from libsel4py.lowlevel.batch import Batch
from libsel4py.lowlevel.identify import Identity, queue_identify
from libsel4py.lowlevel.syscalls import Message
from servers.root import objects as task_objects
from servers.root.authority import Authority
from servers.root.objects import Body, Placed
from servers.root.running_task import Life, RunningTask, Standby

MOST_ENDS: Final = 5
ENDS_SECONDS: Final = 10.0
# From the beginning of a life to when the next process is made that stands by: the kernel and both processors are the
# new life's meanwhile, which some clients wait for.
MAKE_SECONDS: Final = 0.025

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is to be done when the one that stands by takes over, made while nobody waits: each batch may be sent once.

    Attributes:
        own, fault: its slots that name its own objects, and where its faults go.
        end: the former process's thread hears no signals any more. choice: signals and ``own`` slots are the new one's.
        going_on: it is given all that the task has, and told to.
        destruction: the former thread is destroyed, and its process ended. behind: what nobody waits for: it is called
            as the task is.
    """

    own: dict[int, Placed]
    fault: Endpoint
    end: Batch = field(default_factory=Batch)
    choice: Batch = field(default_factory=Batch)
    going_on: Batch = field(default_factory=Batch)
    destruction: Batch = field(default_factory=Batch)
    behind: Batch = field(default_factory=Batch)


class Standbys:
    """Makes them, and lets them take over.

    Attributes:
        next_due: the moment of its clock for `make_all`; FOREVER if none is to be made.
    """

    def __init__(
        self,
        authority: Authority,
        tasks: list[RunningTask],
        clock: Callable[[], float],
    ) -> None:
        self._authority = authority
        self._tasks = tasks
        self._clock = clock
        self.next_due = FOREVER
        self._prepared: dict[int, Prepared] = {}
        self._behind: list[Batch] = []

    def make_soon(self, running: RunningTask) -> None:
        """The task has begun a life: one is to stand by for it."""
        if running.objects.spare is not None:
            self.next_due = min(self.next_due, self._clock() + MAKE_SECONDS)

    def make_all(self) -> None:
        """Make those that are missing, behind what was left until now."""
        self.next_due = FOREVER
        behind, self._behind = self._behind, []
        for each in behind:
            try:
                each.submit()
            except KernelError as error:  # all behind what was refused is carried out
                _log.warning("what a take-over has left is left undone: %s", error)
        for running in self._tasks:
            if running.objects.spare is not None and running.life is Life.RUNNING and running.standby is Standby.NONE:
                self._make(running, running.objects.spare)

    def _make(self, running: RunningTask, body: Body) -> None:
        authority, task, objects, fault = self._authority, running.task, running.objects, running.standby_faults
        assert fault is not None
        assert body.waiting is not None
        body.waiting.takeover.poll()  # what a former process of this body has not waited for
        with Batch() as batch:
            consumed = task_objects.queue_threads_renewal(batch, authority, body)
            authority.memory.queue_renewal(batch, body.vspace.cptr, ObjectType.VSPACE, task_objects.vspace_bits(task))
            for thread in body.threads:
                task_objects.queue_time(batch, authority, task, thread)
            batch.queue(body.threads[0].tcb.set_name, task.name + STANDBY_SUFFIX)
            for index in range(len(body.threads)):
                task_objects.queue_configuration(batch, authority, task, objects, index, fault, body)
        running.used_us += sum(used.result() for used in consumed)
        task_objects.start_thread(body.threads[0], running.image)
        running.standby = Standby.READY
        self._prepared[running.number] = self._prepare(running, body)

    def _prepare(self, running: RunningTask, chosen: Body) -> Prepared:
        objects = running.objects
        own = task_objects.own_slots(objects, chosen)
        prepared = Prepared(own, running.faults[0])
        prepared.end.queue_try(objects.main.tcb.unbind_notification)
        prepared.choice.queue(chosen.threads[0].tcb.bind_notification, objects.notification)
        task_objects.queue_own_slots(prepared.choice, self._authority, objects, own)
        self._queue_going_on(prepared.going_on, running, chosen)
        task_objects.queue_names(prepared.behind, running.task.name, chosen)
        self._queue_end(prepared.destruction, objects.body)
        return prepared

    def choose(self, running: RunningTask) -> bool:
        """Destroy the task's threads, and so its process, and let what stands by be its body. False if none stands by.

        All that can wait until the task is served again is left to `make_all`.
        """
        if running.standby is Standby.CHOSEN:
            return True
        if running.standby is not Standby.READY:
            return False
        with Batch() as batch:
            self._queue_end(batch, running.objects.body)
        self._swap(running)
        return True

    def take_prepared(self, running: RunningTask, is_gone: bool) -> Prepared:
        """Let what stands by ready be the task's body, and its slots that one's: whoever asks sends `end`, `choice` and
        `going_on`.

        ``is_gone``: nothing of the former process runs any more; otherwise `end` destroys its thread.
        """
        prepared = self._prepared.pop(running.number)
        (prepared.behind if is_gone else prepared.end).extend(prepared.destruction)
        self._behind.append(prepared.behind)
        self._swap(running)
        running.objects.placed |= prepared.own
        if prepared.fault != running.faults[0]:
            prepared = replace(prepared, going_on=Batch())
            self._queue_going_on(prepared.going_on, running, running.objects.body)
        return prepared

    def _swap(self, running: RunningTask) -> None:
        objects = running.objects
        assert objects.spare is not None
        objects.body, objects.spare = objects.spare, objects.body
        running.standby = Standby.CHOSEN

    def _queue_end(self, batch: Batch, body: Body) -> None:
        for thread in reversed(body.threads):
            self._authority.memory.queue_destruction(batch, thread.tcb.cptr)

    def queue_choice(self, batch: Batch, running: RunningTask) -> list[int]:
        """Queue that the task's own slots, name and signals are those of what was chosen. Returns the slots."""
        objects = running.objects
        if running.standby is not Standby.CHOSEN or objects.placed[Slot.TCB].cptr == objects.main.tcb.cptr:
            return []
        own = task_objects.own_slots(objects, objects.body)
        self._queue_choice(batch, running, objects.body, own)
        objects.placed |= own
        return list(own)

    def _queue_choice(self, batch: Batch, running: RunningTask, body: Body, own: dict[int, Placed]) -> None:
        for index in range(len(body.threads)):
            task_objects.queue_name(batch, running.task.name, running.objects, body, index)
        task_objects.queue_own_slots(batch, self._authority, running.objects, own)

    def take_over(self, running: RunningTask) -> bool:
        """Let the chosen one go on as the task. False if it has ended, and has to be made anew."""
        with Batch() as batch:
            self._queue_going_on(batch, running, running.objects.body)
            told = queue_identify(batch, running.objects.main.tcb.cptr)
        return self.is_going_on(running, told.result())

    def _queue_going_on(self, batch: Batch, running: RunningTask, body: Body) -> None:
        objects, main = running.objects, body.threads[0].tcb
        assert body.waiting is not None
        batch.queue(main.set_space, running.faults[0], objects.cnode, objects.guard, body.vspace, 0)
        batch.queue_send(body.waiting.takeover.cptr, Message())

    def is_going_on(self, running: RunningTask, told: Identity) -> bool:
        """Whether what was told to go on runs: then its further threads are started. False: it had ended.

        ``told``: what its first thread was right behind that.
        """
        objects = running.objects
        running.standby = Standby.NONE
        # Its end is told to the task's supervisor from now on; before, it was told here, and nobody has looked yet.
        if not told.runs:
            return False
        for thread, fault in zip(objects.threads[1:], running.faults[1:], strict=True):
            thread.tcb.set_space(fault, objects.cnode, objects.guard, objects.vspace, 0)
            task_objects.start_thread(thread, running.image)
        return True

    def end(self, running: RunningTask) -> None:
        """Nothing stands by for it any more. One that was chosen is still to be made anew, by who ends the task."""
        if running.standby is Standby.READY:
            self.forget(running)
        running.standby = Standby.NONE

    def forget(self, running: RunningTask) -> None:
        """The system is resumed, and whichever body served then, the task goes on in the one that it had first.

        So no thread of the other one may have what its threads are given, or stand in its CNode.
        """
        if running.objects.spare is not None:
            with Batch() as batch:
                for thread in reversed(running.objects.spare.threads):
                    self._authority.memory.queue_destruction(batch, thread.tcb.cptr)

    def ended(self, running: RunningTask) -> None:
        """One has ended by itself, or has faulted; it may have taken over meanwhile, which is no matter of ours."""
        if running.standby is not Standby.READY or running.objects.spare is None:
            return  # one that was chosen is looked at when it is to take over
        now, recent = self._clock(), running.standby_ended_at
        self.end(running)
        while recent and now - recent[0] >= ENDS_SECONDS:
            recent.popleft()
        recent.append(now)
        if len(recent) > MOST_ENDS:
            _log.error("nothing stands by for %s any more: it ended %d times", running.task.name, len(recent))
            running.standby = Standby.GIVEN_UP
            running.events.append("nothing stands by for it: that has ended again and again")
        else:
            running.events.append("what stood by for it has ended, and is made again")
            self.make_soon(running)
