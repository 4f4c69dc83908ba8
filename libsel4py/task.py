"""A task's own things: its CNode, free slots, memory pool, and where received capabilities go.

Rules: there is one `Task` a process, made by the component runtime (or by `libsel4py.testing`) before anything
else runs. seL4 gives a thread one receive slot; `ReceiveSlot` keeps that slot empty and armed, so that a
capability that nobody asked for is deleted and cannot stop the next one from arriving.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from libsel4py.abi import ObjectType
from libsel4py.capabilities import TCB, Capability, CNode, Notification, Reply, Untyped, VSpace
from libsel4py.channels import Channels
from libsel4py.deaths import Deaths
from libsel4py.environment import CNODE_DEPTH, PAGED_ADDRESS, Environment, Slot
from libsel4py.lowlevel.cspace import SlotAllocator
from libsel4py.lowlevel.syscalls import machine
from libsel4py.lowlevel.untyped import UntypedAllocator
from libsel4py.lowlevel.vspace import AddressAllocator

if TYPE_CHECKING:
    from libsel4py.dataspace import DataSpace
    from libsel4py.keeper import Keeper


class ReceiveSlot:
    """A thread's slot for an incoming capability.

    Attributes:
        unclaimed: slots of what came with the request that the thread serves; deleted if its method raises.
        slot: what stands ready; None while nothing does.
    """

    def __init__(self, cnode: CNode, slots: SlotAllocator) -> None:
        self._cnode = cnode
        self._slots = slots
        self.slot: int | None = None
        self.unclaimed: set[int] = set()

    def arm(self) -> None:
        """Make sure that an empty slot stands ready. Raises OutOfSlots."""
        if self.slot is None:
            slot = self._slots.allocate()
            machine.set_receive(self._cnode.cptr, slot, CNODE_DEPTH)
            self.slot = slot

    def take(self) -> int:
        """The slot, now occupied, and from now on the caller's. Nothing else arrives before `arm`."""
        slot, self.slot = self.slot, None
        if slot is None:
            raise RuntimeError("no receive slot is armed: nothing can have been received")
        # Once the caller has freed the slot, what a message brings unasked must not land in it.
        machine.set_receive(0, 0, 0)
        return slot

    def discard(self) -> None:
        """Delete what arrived unasked; the slot stays armed."""
        if self.slot is not None:
            self._cnode.delete(self.slot)


class _ReceiveSlots(threading.local):
    """Each thread's own."""

    def __init__(self, cnode: CNode, slots: SlotAllocator) -> None:
        self.slot = ReceiveSlot(cnode, slots)


class Task:
    """This task's own capabilities and allocators, after what its parent told it.

    Attributes:
        state, keeper: of what its next life will find (`libsel4py.state`); None until that is used.
    """

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self.name = environment.name
        self.tcb = TCB(Slot.TCB)
        self.cnode = CNode(Slot.CNODE)
        self.vspace = VSpace(Slot.VSPACE)
        self.notification = Notification(Slot.NOTIFICATION)
        self.slots = SlotAllocator(environment.first_free_slot, environment.free_slots)
        self.memory = UntypedAllocator(self.cnode, self.slots)
        if environment.pool_bits:
            self.memory.add(Untyped(Slot.POOL), environment.pool_bits)
        self.addresses = AddressAllocator()
        if environment.paged_bytes:
            self.addresses.reserve(PAGED_ADDRESS, environment.paged_bytes)
        self.channels = Channels(self)
        self.state: DataSpace | None = None
        self.keeper: Keeper | None = None
        self.deaths = Deaths(self)
        self._receive_slots = _ReceiveSlots(self.cnode, self.slots)

    @property
    def receive(self) -> ReceiveSlot:
        """The calling thread's receive slot."""
        return self._receive_slots.slot

    def new_reply(self) -> Reply:
        """A fresh reply object from the task's pool. Raises NotEnoughMemory, OutOfSlots."""
        return Reply(self.memory.allocate(ObjectType.REPLY).start)

    def delete(self, capability: Capability) -> None:
        """Delete a capability from this task's CNode and take its slot back; the channels of interfaces go with it.

        So does what the calling thread has connected by itself (`Endpoint.connect`).

        Raises:
            ValueError: the slot is none that this task gave out.
        """
        self.empty(capability)
        self.slots.free(capability.cptr)

    def empty(self, capability: Capability) -> None:
        """As `delete`, but the slot stays empty until the caller gives it back: others may be about to call by it."""
        self.channels.forget(capability.cptr)  # the slot's next capability is another
        self.receive.unclaimed.discard(capability.cptr)
        self.cnode.delete(capability.cptr)


class _PerThread(threading.local):
    task: Task | None = None


_current: Task | None = None
_per_thread = _PerThread()


def current_task() -> Task:
    """This process's task.

    Raises:
        RuntimeError: the component runtime has not started.
    """
    task = _per_thread.task or _current
    if task is None:
        raise RuntimeError(
            "this process has no task yet: components are started by the runtime (@component), "
            "and tests use libsel4py.testing"
        )
    return task


def set_current_task(task: Task | None) -> Task | None:
    """For the component runtime and for tests; returns the former task."""
    global _current
    former, _current = _current, task
    return former


@contextmanager
def as_task(task: Task) -> Iterator[None]:
    """Let the calling thread be another task's for the length of the block: how tests run several in one process."""
    former, _per_thread.task = _per_thread.task, task
    try:
        yield
    finally:
        _per_thread.task = former
