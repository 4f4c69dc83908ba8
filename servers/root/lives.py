"""The mechanism of a task's life: started, ended, cleared, and its faults led to whoever answers them.

Rules. Starting a task again makes its threads anew: no old one can run on beside them, and a process begins with its
first thread. Threads whose memory fault it held, as a pager or a supervisor, try their instruction again. What is not
started again is left as it is, with everything that it holds, so that `why` and `inspect` can show it; but its endpoint
goes, so that those who wait there are told, and so is who calls it later. If it is started after all, by order, there
is a new one, in all slots that the description fills with it. Nothing here decides when: that is `supervisor.py`'s, or
the reincarnation server's by `lifecycle.py`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

from libsel4py.abi import CapType, FaultLabel, ObjectType, Rights
from libsel4py.capabilities import Endpoint, Reply
from libsel4py.description import Grant
from libsel4py.environment import PAGED_BADGE
from libsel4py.errors import KernelError, Timeout
from libsel4py.fault_reports import is_guarded, pager_is_gone
from libsel4py.lowlevel.batch import Batch
from libsel4py.lowlevel.identify import identify, queue_identify
from libsel4py.lowlevel.syscalls import Message
from libsel4py.wire import Outcome
from servers.root import leftovers
from servers.root import objects as task_objects
from servers.root.authority import Authority
from servers.root.renewals import Renewals
from servers.root.running_task import THREAD_MASK, THREAD_SHIFT, Kind, Life, RunningTask, Sender, Standby
from servers.root.standbys import Standbys
from servers.root.untold import Faulted, UntoldFaults

PAGER_SECONDS: Final = 0.1  # how long a pager may take to hear that a task of its ends; root answers nobody meanwhile
PASSING_ON: Final = Rights.WRITE | Rights.GRANT_REPLY  # what a pager may do with its tasks' supervisor's endpoint

_log = logging.getLogger(__name__)


class Lives:
    """Starts and ends tasks.

    Args:
        clock: seconds that never go back.
    Attributes:
        made_ahead: what has a moment at which it is to be made.
        faulted: who is told of faults that a pager that ended had taken and not passed on, or that nobody has taken
        from one that ended for good.
    """

    def __init__(
        self,
        authority: Authority,
        tasks: list[RunningTask],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.clock = clock
        self.standbys = Standbys(authority, tasks, clock)
        self.renewals = Renewals(authority, tasks, clock)
        self.made_ahead = (self.standbys, self.renewals)
        self.faulted: Faulted | None = None
        self._authority = authority
        self._tasks = tasks
        self._untold = UntoldFaults()
        self._asking: set[int] = set()  # pagers that have ended and not asked yet for whom they serve

    def start(self, running: RunningTask, event: str) -> None:
        """Begin its next life."""
        self._open_endpoint(running)
        chosen = running.standby is Standby.CHOSEN
        if not (chosen and self.standbys.take_over(running)):
            self._start_process(running, chosen)
        self._has_begun(running, event)

    def _start_process(self, running: RunningTask, anew: bool) -> None:
        if anew:  # what was chosen has ended
            self._remake_threads(running)
        task_objects.start(running.objects, running.image, self._authority.strict)

    def _has_begun(self, running: RunningTask, event: str) -> None:
        running.started_at = self.clock()
        running.pager_life = self._pager_life(running)
        running.note(Life.RUNNING, "running", event)
        for client in self._paged_by(running):
            self.send_faults_to(client, client.paged_faults)
        self.standbys.make_soon(running)
        self.renewals.make_soon(running)
        self._tell_what_was_held(running)

    def start_again(self, running: RunningTask) -> None:
        """As `start`, of one that was ended; it is counted."""
        running.restarts += 1
        self.start(running, _again(running))

    def renew(self, running: RunningTask, *, is_told: bool = False, is_gone: bool = False) -> None:
        """As `end` and `start_again`, in as few steps as can be: somebody may wait for the next life.

        ``is_told``: one that is dead is so since the kernel has told it, and not by order. ``is_gone``: it has told of
        a signal's end, after which the host runs nothing of the process; otherwise that is ended before all else.
        """
        # Of several threads others may run on when one has ended, and a pager may say what is not so.
        has_ended = running.life is Life.DEAD and len(running.objects.threads) == 1 and not running.task.pager
        # One that is killed by order may run.
        has_ended = has_ended and (is_told or not identify(running.objects.main.tcb.cptr).runs)
        if not has_ended or running.is_closed or running.standby is Standby.CHOSEN:
            self.end(running)
            self.start_again(running)
        elif running.standby is Standby.READY:
            self._pass_on(running, is_gone)
        else:
            self._begin_anew(running)

    def _pass_on(self, running: RunningTask, is_gone: bool) -> None:
        """Let what stands by go on in the place of a process that has ended, all by one trap if nothing is to be filled
        again: answers, what is cleared, what it is given, and whether it goes on.

        The kernel has told of the end: nothing changes in the task's CNode meanwhile.

        The entries of a batch are not carried out as one: what the new life asks comes between those behind the signal
        that lets it go on. So before that stands all that it may use: it receives by the reply objects that callers
        still wait at, makes things of the pool and in free slots, and acts on what its own slots name; and who receives
        already is not woken by a signal that came before its notification was bound.
        """
        objects = running.objects
        occupied, replies = leftovers.occupied_slots(objects)
        faulted = self._owing_memory(running, replies)
        self._note_what_it_holds(running)
        prepared = self.standbys.take_prepared(running, is_gone)
        with Batch() as batch:
            batch.extend(prepared.end)
            leftovers.queue_answers(batch, self._authority, objects, replies, faulted)
            leftovers.queue_clearing(batch, objects, running.environment.first_free_slot, occupied)
            batch.extend(prepared.choice)
            filled = {*occupied, *prepared.own}
            if task_objects.emptied(objects, filled):
                batch.submit()
                self._refill(running, list(filled))
            batch.extend(prepared.going_on)
            told = queue_identify(batch, objects.main.tcb.cptr)
        running.restarts += 1
        if not self.standbys.is_going_on(running, told.result()):
            self._start_process(running, True)
        self._has_begun(running, _again(running))

    def _begin_anew(self, running: RunningTask) -> None:
        """Start again one that has ended, all by one trap if nothing is to be filled again: the thread's end, answers,
        what is cleared, and the new one's start. As in `_pass_on` nothing changes in its CNode meanwhile."""
        objects = running.objects
        occupied, replies = leftovers.occupied_slots(objects)
        faulted = self._owing_memory(running, replies)
        self._note_what_it_holds(running)
        renewal = self.renewals.take(running)
        with Batch() as batch:
            batch.extend(renewal.made)
            leftovers.queue_answers(batch, self._authority, objects, replies, faulted)
            leftovers.queue_clearing(batch, objects, running.environment.first_free_slot, occupied)
            objects.placed |= renewal.own
            filled = {*occupied, *renewal.own}
            if task_objects.emptied(objects, filled):
                batch.submit()
                self._refill(running, list(filled))
            batch.extend(renewal.started)
        running.used_us += sum(used.result() for used in renewal.consumed)
        running.standby = Standby.NONE
        running.restarts += 1
        self._has_begun(running, _again(running))

    def end(self, running: RunningTask) -> None:
        """Destroy its process, and take back what it had; it stands ready to be started."""
        self.end_threads(running)
        self.clear(running)

    def end_unheard(self, running: RunningTask) -> None:
        """As `end`, of a system that is resumed: no process runs, and so no pager that could be told."""
        self.standbys.forget(running)
        running.used_us += task_objects.remake_threads(self._authority, running.task, running.objects, running.faults)
        self.clear(running)

    def leave(self, running: RunningTask, *, by_order: bool = False) -> None:
        """It is not started again: whoever waits for its answers is told, and its faulted thread stays to be seen.

        A pager with such a thread answers no faults any more, whatever its other threads do.

        ``by_order``: as another order may start it, who has called it and was not served yet waits for that.
        """
        self.end_standby(running)
        if running.life is Life.DEAD:
            self.clear(running)
            self.take_over(running)
            if not by_order:
                self.close_endpoint(running)
        elif self._paged_by(running):
            self._let_faults_go(running)
            self.take_over(running)

    def clear(self, running: RunningTask) -> None:
        """Take back what the task had: whoever serves it sees that the memory which it had lent is gone."""
        occupied, replies = leftovers.occupied_slots(running.objects)
        faulted = self._owing_memory(running, replies)
        self._note_what_it_holds(running)
        with Batch() as batch:
            leftovers.queue_answers(batch, self._authority, running.objects, replies, faulted)
            leftovers.queue_clearing(batch, running.objects, running.environment.first_free_slot, occupied)
            filled = self.standbys.queue_choice(batch, running)
        self._refill(running, [*occupied, *filled])

    def _refill(self, running: RunningTask, occupied: list[int]) -> None:
        try:
            closed = frozenset(
                each.objects.endpoint.cptr for each in self._tasks if each.is_closed and each.objects.endpoint
            )
            filled = task_objects.refill(self._authority, running.objects, frozenset(occupied), closed)
        except KernelError as error:  # somebody else has by now what the task has let go of
            _log.warning("%s is not given all again that it had deleted: %s", running.task.name, error)
            return
        if filled:
            _log.info("%s had emptied slots %s of its own; they are filled again", running.task.name, filled)

    def end_threads(self, running: RunningTask) -> None:
        """Destroy the task's threads, and so its process; new ones stand ready, or a process that has stood by."""
        pager = self._pager_of(running) if running.faults == running.paged_faults else None
        if pager is not None:
            self._silence(pager, running)
            self._tell_pager(pager, running)
        if not self.standbys.choose(running):
            self._remake_threads(running)
            running.standby = Standby.NONE
        if pager is not None:
            self._let_speak(pager, running)

    def forget_image(self, running: RunningTask) -> None:
        """It is ended, and is to run another boot image: nothing that is made for its next life is of that one."""
        self.end_standby(running)
        self.renewals.forget(running)

    def lead_back(self, running: RunningTask) -> None:
        """Its update has not come up, if it runs one: its next life is of the boot image of before."""
        if running.former_image is not None:
            self.forget_image(running)
            running.image, running.former_image = running.former_image, None

    def end_standby(self, running: RunningTask) -> None:
        """It is not to be started again soon: nothing stands by for it."""
        chosen = running.standby is Standby.CHOSEN
        self.standbys.end(running)
        if chosen:
            self._remake_threads(running)

    def _remake_threads(self, running: RunningTask) -> None:
        running.used_us += task_objects.remake_threads(self._authority, running.task, running.objects, running.faults)

    def _silence(self, pager: RunningTask, client: RunningTask) -> None:
        """Take from the pager what it passes faults of the task on by, and void what it is about to pass on.

        It would wait for the supervisor, which waits for root, and root for it; and what comes of a former life's
        threads late would be taken for the next one's.
        """
        objects = pager.objects
        with Batch() as batch:
            for slot in pager.environment.paged[client.task.name].supervisors.values():
                batch.queue(objects.cnode.delete, slot, objects.cnode_bits)
            for fault in client.home_faults:
                batch.queue(self._authority.cnode.cancel_badged_sends, fault.cptr)

    def _let_speak(self, pager: RunningTask, client: RunningTask) -> None:
        """Give the pager back what `_silence` took; where it has filled a slot itself meanwhile, that is its loss."""
        for slot in pager.environment.paged[client.task.name].supervisors.values():
            placed = pager.objects.placed[slot]
            try:
                task_objects.place(self._authority, pager.objects, slot, placed.cptr, placed.rights, placed.badge)
            except KernelError as error:
                _log.warning("%s is not given back its slot %d: %s", pager.task.name, slot, error)

    def _tell_pager(self, pager: RunningTask, running: RunningTask) -> None:
        """Say for each thread that it ends, so that its successor finds no memory of its; a pager that is busy or dead
        is not waited for: it looks after that when it starts."""
        if pager.number in self._asking:
            return
        for fault in running.faults:
            try:
                fault.send(Message(FaultLabel.NULL_FAULT), timeout=PAGER_SECONDS)
            except Timeout:
                _log.warning("%s, the pager of %s, does not listen", running.task.pager, running.task.name)
                return

    def send_faults_to(self, client: RunningTask, faults: tuple[Endpoint, ...]) -> None:
        """From now on its threads' faults go there."""
        if client.faults == faults:
            return
        client.faults = faults
        objects = client.objects
        if client.standby is Standby.CHOSEN:
            return  # it is given them when it takes over
        for thread, fault in zip(objects.threads, faults, strict=True):
            thread.tcb.set_space(fault, objects.cnode, objects.guard, objects.vspace, 0)

    def tell_pager_of_home(self, client: RunningTask) -> None:
        """Let its pager pass on what it does not answer to where the task's faults are at home now."""
        pager = self._pager_of(client)
        if pager is None:
            return
        objects, paged = pager.objects, pager.environment.paged[client.task.name]
        for slot, fault in zip(paged.supervisors.values(), client.home_faults, strict=True):
            objects.cnode.delete(slot, objects.cnode_bits)
            task_objects.place(self._authority, objects, slot, fault.cptr, PASSING_ON)

    # --- endpoints that nobody serves ---------------------------------------------------------------------------------

    def close_endpoint(self, running: RunningTask) -> None:
        """Tell who waits at the task's endpoint, or will call it, that nobody answers.

        Not at a pager's, which tasks hold as where their faults go: they would be answered by nobody.
        """
        endpoint = running.objects.endpoint
        if endpoint is None or running.is_closed or self._paged_by(running):
            return
        self.drain(running, lambda badge: None)
        with Batch() as batch:
            self._authority.memory.queue_destruction(batch, endpoint.cptr)
        running.is_closed = True

    def find_closed(self, running: RunningTask) -> None:
        """Of a system that is resumed: whether it was suspended without this endpoint."""
        endpoint = running.objects.endpoint
        running.is_closed = endpoint is not None and identify(endpoint.cptr).type == CapType.NULL.name

    def _open_endpoint(self, running: RunningTask) -> None:
        """The task serves again: all that were given its endpoint are given the new one, where they have nothing else
        by now."""
        endpoint = running.objects.endpoint
        if endpoint is None or not running.is_closed:
            return
        with Batch() as batch:
            self._authority.memory.queue_renewal(batch, endpoint.cptr, ObjectType.ENDPOINT)
        running.is_closed = False
        for each in self._tasks:
            task_objects.place_again(self._authority, each.objects, endpoint.cptr)

    # --- when somebody who answers faults ends for good -------------------------------------------------------------

    def _takes(self, running: RunningTask) -> bool:
        """Whether others' faults come to it."""
        return Grant.LIFECYCLE in running.task.grants or bool(self._paged_by(running))

    def _owing_memory(self, running: RunningTask, replies: list[int]) -> list[int]:
        """Those of its reply objects at which somebody waits for memory, and is to try again."""
        return leftovers.owing_memory(self._authority, running.objects, replies) if self._takes(running) else []

    def _let_faults_go(self, pager: RunningTask) -> None:
        """Let the threads try again whose memory fault it holds; its callers wait on, as it may have threads left."""
        _, replies = leftovers.occupied_slots(pager.objects)
        faulted = leftovers.owing_memory(self._authority, pager.objects, replies)
        self._untold.note(pager, self._paged_by(pager))
        with Batch() as batch:
            leftovers.queue_answers(batch, self._authority, pager.objects, faulted, faulted)

    def _note_what_it_holds(self, running: RunningTask) -> None:
        clients = self._paged_by(running)
        if clients:
            self._untold.note(running, clients)
            self._asking.add(running.number)

    def _tell_what_was_held(self, pager: RunningTask) -> None:
        if self.faulted is not None:
            self._untold.tell(pager, self.faulted)

    def outlived(self, pager: RunningTask) -> dict[str, tuple[int, ...]]:
        """For each task that it is the pager of and that has run since a former life of it: the threads that run. The
        pager asks; from now on it is told of ends."""
        self._asking.discard(pager.number)
        return {
            client.task.name: tuple(
                number for number, thread in enumerate(client.objects.threads) if identify(thread.tcb.cptr).runs
            )
            for client in self._paged_by(pager)
            if client.pager_life < pager.restarts and client.life is Life.RUNNING
        }

    def _pager_life(self, client: RunningTask) -> int:
        """Which life of its pager is the first that brings memory to one that begins now; 0 if it has none."""
        pager = self._pager_of(client)
        if pager is None:
            return 0
        return pager.restarts + (pager.life in (Life.FAULTED, Life.DEAD, Life.DONE))

    def why_unpaged(self, client: RunningTask) -> str:
        """What explains a memory fault of a task whose pager does not answer it; "" if that has none, or that does."""
        gone = client.task.pager and client.faults != client.paged_faults
        return pager_is_gone(client.task.pager) if gone else ""

    def _pager_of(self, client: RunningTask) -> RunningTask | None:
        return next((each for each in self._tasks if each.task.name == client.task.pager), None)

    def _paged_by(self, pager: RunningTask) -> list[RunningTask]:
        return [each for each in self._tasks if each.task.pager == pager.task.name]

    def take_over(self, pager: RunningTask) -> None:
        """Faults of the tasks that it was the pager of go to their supervisor from now on; and those that it has not
        taken are answered here."""
        clients = self._paged_by(pager)
        if clients:
            for client in clients:
                self.send_faults_to(client, client.home_faults)
            self.drain(pager, lambda badge: _paged_sender(badge, clients))
            self._tell_what_was_held(pager)

    def drain(self, ended: RunningTask, sender_of: Callable[[int], Sender | None]) -> None:
        """Answer what waits at the endpoint of a task that will not: faults of those whom ``sender_of`` knows by badge
        are told, and calls end in ServerDied."""
        if ended.objects.endpoint is None:
            return
        reply = Reply(self._authority.make("root", ObjectType.REPLY))
        try:
            while (received := ended.objects.endpoint.nb_recv(reply)) is not None:
                sender = sender_of(received.badge)
                if sender is None:
                    reply.send(Message(Outcome.SERVER_DIED))
                elif is_guarded(received.label, received.words):
                    reply.send(Message(1))
                elif self.faulted is not None:
                    # Not answered: the next receive, or the reply object's end, leaves it stopped.
                    self.faulted(sender, received.label, received.words)
        finally:
            self._authority.free(reply.cptr)


def _again(running: RunningTask) -> str:
    return f"started again ({running.restarts})"


def _paged_sender(badge: int, clients: list[RunningTask]) -> Sender | None:
    """Whose fault a message at a pager's endpoint is."""
    if not badge & PAGED_BADGE or all(badge & THREAD_MASK != each.number for each in clients):
        return None
    return Sender(Kind.FAULT, badge & THREAD_MASK, (badge ^ PAGED_BADGE) >> THREAD_SHIFT)
