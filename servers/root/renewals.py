"""A task's only thread made anew and started, all by one trap that is prepared while the task runs.

Rules. What was prepared may be sent once, and is of the body and the place of faults that it was prepared for: where
these have changed it is made when it is needed. `make_all` makes it, some milliseconds after a life has begun, which
clients wait for until then.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from libsel4py.capabilities import Endpoint
from libsel4py.interfaces.lifecycle import FOREVER
from libsel4py.lowlevel.batch import Batch, Pending
from servers.root import objects as task_objects
from servers.root.authority import Authority
from servers.root.objects import Body, Placed
from servers.root.running_task import Life, RunningTask

PREPARE_SECONDS: Final = 0.005


@dataclass(frozen=True, slots=True)
class Renewal:
    """What is to be done for the next life: threads and ``own`` slots are made anew by ``made``, then it is started.

    Attributes:
        consumed: the former threads' processor time, once ``made`` is sent.
    """

    body: Body
    fault: Endpoint
    made: Batch
    consumed: list[Pending[int]]
    own: dict[int, Placed]
    started: Batch


class Renewals:
    """Prepares them.

    Attributes:
        next_due: the moment of its clock for `make_all`; FOREVER if none is to be made.
    """

    def __init__(self, authority: Authority, tasks: list[RunningTask], clock: Callable[[], float]) -> None:
        self._authority = authority
        self._tasks = tasks
        self._clock = clock
        self.next_due = FOREVER
        self._prepared: dict[int, Renewal] = {}

    def make_soon(self, running: RunningTask) -> None:
        """The task has begun a life."""
        if running.number not in self._prepared and len(running.objects.threads) == 1:
            self.next_due = min(self.next_due, self._clock() + PREPARE_SECONDS)

    def make_all(self) -> None:
        """Prepare what is missing, of tasks that run."""
        self.next_due = FOREVER
        for running in self._tasks:
            alone = len(running.objects.threads) == 1
            if alone and running.life is Life.RUNNING and running.number not in self._prepared:
                self._prepared[running.number] = self._prepare(running)

    def forget(self, running: RunningTask) -> None:
        """What is prepared is not what its next life is to be."""
        self._prepared.pop(running.number, None)

    def take(self, running: RunningTask) -> Renewal:
        """What is prepared for the task, or is made now: whoever asks sends it."""
        prepared = self._prepared.pop(running.number, None)
        is_its = prepared is not None and prepared.body is running.objects.body and prepared.fault == running.faults[0]
        return prepared if prepared is not None and is_its else self._prepare(running)

    def _prepare(self, running: RunningTask) -> Renewal:
        authority, task, objects = self._authority, running.task, running.objects
        made, started = Batch(), Batch()
        consumed, own = task_objects.queue_remaking(made, authority, task, objects, running.faults)
        task_objects.queue_start(started, objects.main, running.image)
        return Renewal(objects.body, running.faults[0], made, consumed, own, started)
