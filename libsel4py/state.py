"""A task's ``state``: memory that its description gives it, and that its next life finds as the last one left it.

    values = self.kept(dict[str, int])      # in a component: what was committed, or an empty one
    values.value["runs"] = 1
    values.commit()                         # durable from here on

For values that are small enough to be written as a whole at each change; `open_journal` gives larger ones the memory
itself, as a `Journal`. The memory's frames are root's: a task's end, by whatever cause, does not touch them.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from libsel4py.abi import CapType
from libsel4py.capabilities import Capability, Frame
from libsel4py.dataspace import READ_WRITE, DataSpace
from libsel4py.errors import KernelError
from libsel4py.journal import Journal
from libsel4py.keeper import Keeper
from libsel4py.lowlevel.cspace import OutOfSlots
from libsel4py.lowlevel.identify import identify
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


def ensure_state(task: Task, least_bytes: int) -> None:
    """Refuse a state that is too small for what a server keeps. None at all is not refused.

    Raises:
        ValueError: it has less; the text says what to give the task.
    """
    given = task.environment.state_bytes
    if 0 < given < least_bytes:
        raise ValueError(f'{task.name} has a state of {given} bytes: give it state = "{least_bytes >> 10}K", or none')


class StateSlots:
    """Capabilities that the task's next life finds: the description's ``state_slots``.

    What is kept there is known by its slot's number, which belongs into the kept value. In which order the two change
    says what a death between them leaves: a capability that the value does not name, which `begin` deletes. So a slot
    is filled before the value names it, and emptied when the value names it no more.

    A task without such slots keeps its capabilities as long as its process lives, in slots like all others.
    """

    def __init__(self, task: Task | None = None) -> None:
        self._task = task or current_task()
        environment = self._task.environment
        first = environment.first_state_slot
        self._slots = range(first, first + environment.state_slots)
        self._free = set(self._slots)

    def begin(self, named: Iterable[int]) -> set[int]:
        """Which of the slots that the kept value names hold something; all others are emptied."""
        found = {slot for slot in named if slot in self._free and identify(slot).type != CapType.NULL.name}
        self._free -= found
        for slot in self._free:
            self._task.cnode.delete(slot)
        return found

    def put(self, capability: Capability) -> int:
        """Keep a capability that has a slot of its own, which is given back; returns its number from here on.

        Raises:
            OutOfSlots: there is no room; the capability is the caller's, as it was.
        """
        if not self._slots:
            return capability.cptr
        if not self._free:
            raise OutOfSlots(f"all {len(self._slots)} state_slots of {self._task.name} are in use")
        slot, cnode = min(self._free), self._task.cnode
        cnode.delete(slot)
        cnode.copy(slot, cnode, capability.cptr)
        self._task.delete(capability)
        self._free.remove(slot)
        return slot

    def drop(self, slot: int) -> None:
        """Delete what is kept there."""
        if slot in self._slots:
            self._task.cnode.delete(slot)
            self._free.add(slot)
        else:
            self._task.delete(Capability(slot))
