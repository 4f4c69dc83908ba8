"""A task's ``state``: memory that its description gives it, and that its next life finds as the last one left it.

    values = self.kept(dict[str, int])      # in a component: what was committed, or an empty one
    values.value["runs"] = 1
    values.commit()                         # durable from here on

For values that are small enough to be written as a whole at each change; `open_journal` gives larger ones the memory
itself, as a `Journal`. The memory's frames are root's: a task's end, by whatever cause, does not touch them.
"""

from __future__ import annotations

from contextlib import suppress

from libsel4py.capabilities import Frame
from libsel4py.dataspace import READ_WRITE, DataSpace
from libsel4py.errors import KernelError
from libsel4py.journal import Journal
from libsel4py.keeper import Keeper
from libsel4py.mapping import Mapping
from libsel4py.task import Task, current_task


class NoState(LookupError):
    """The system description gives the task no ``state``."""


def keeper_of(task: Task | None = None) -> Keeper:
    """What keeps the task's value and answers; without ``state`` it keeps them as long as the process lives."""
    task = task or current_task()
    if task.keeper is None:
        task.keeper = Keeper.open(attach_state(task)) if task.environment.state_bytes else Keeper()
    return task.keeper


def open_journal(task: Task | None = None) -> Journal:
    """The task's state as a journal of its own, instead of a kept value.

    Raises:
        NoState. CorruptJournal: `Journal.fresh(attach_state())` begins anew. ValueError: it is in use.
    """
    return Journal(attach_state(task))


def attach_state(task: Task | None = None) -> Mapping:
    """The task's state, mapped. Raises NoState; ValueError if it is mapped already; KernelError."""
    task = task or current_task()
    environment = task.environment
    if not environment.state_bytes:
        raise NoState(f'{task.name} has no state: give it some in its system description, such as state = "64K"')
    if task.state is None:
        frame = Frame(environment.state)
        with suppress(KernelError):  # the former life's mapping
            frame.unmap()
        task.state = DataSpace(task, [frame], [environment.state_bytes], READ_WRITE, allocated=False)
    return task.state.attach()
