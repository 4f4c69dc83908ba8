"""The kernel objects of one task, and the life of its thread: made, started, ended, freed.

What is of one process alone is a `Body`: a task has one, and one more where a process stands by for it. All else
outlives its processes.

Rules: a task's objects are allocated one by one and freed together; a capability to an object is placed into the
task's own CNode by `place` alone. Nothing here knows of connections.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, field, replace

from libsel4py import abi
from libsel4py.abi import ObjectType, Rights
from libsel4py.capabilities import (
    TCB,
    CNode,
    Endpoint,
    Frame,
    IOSpace,
    IRQHandler,
    Notification,
    SchedContext,
    VSpace,
)
from libsel4py.description import Task
from libsel4py.environment import SIGNAL_BADGE, Slot
from libsel4py.lowlevel.batch import Batch, Pending
from libsel4py.lowlevel.identify import occupied_slots
from servers.root.authority import Authority

SCHED_CONTEXT_BITS = 8
EXTRA_REFILLS = ((1 << SCHED_CONTEXT_BITS) - abi.SCHED_CONTEXT_CORE_BYTES) // abi.REFILL_BYTES
ROOM_BITS = 4  # of the CNode of a process that stands by: the fixed slots
TRAP_FRAME_ADDRESS = 0x20_0000_0000  # in every task; threads beside the first one each a frame further


@dataclass(frozen=True, slots=True)
class Thread:
    """One thread's own objects, as slots of root's CNode."""

    tcb: TCB
    frame: Frame
    sched_context: SchedContext


@dataclass(frozen=True, slots=True)
class Waiting:
    """What a body has where its process may stand by: ``room`` is the CNode that it then has, and ``takeover`` what it
    waits for there."""

    room: CNode
    takeover: Notification

    @property
    def guard(self) -> int:
        """The room's guard, as capability data."""
        return abi.cnode_cap_data(0, abi.WORD_BITS - ROOM_BITS)


@dataclass(frozen=True, slots=True)
class Body:
    """What is of one process: its address space, its threads, and how it stands by."""

    vspace: VSpace
    threads: tuple[Thread, ...]
    waiting: Waiting | None = None


@dataclass(frozen=True, slots=True)
class Placed:
    """What a slot of the task's CNode was filled with: a slot of root's, and how it was copied."""

    cptr: int
    rights: Rights
    badge: int


@dataclass(frozen=True, slots=True)
class PlacedDevice:
    """The slots of a device's ports, interrupt handler and memory, and what they are of.

    ``untyped`` is root's own slot of the memory, which goes to slot ``memory``; 0: the device has none.
    """

    ports: int
    handler: int
    first_port: int
    last_port: int
    irq: int
    signal: int
    memory: int = 0
    untyped: int = 0


@dataclass(slots=True)
class TaskObjects:
    """A task's objects, as capabilities of root's CNode. What its own CNode was filled with stands in the last two.

    ``body`` is that of the process that serves, and ``spare`` that of the one which stands by, if there is to be one.
    """

    cnode: CNode
    cnode_bits: int
    body: Body
    spare: Body | None
    reply: int
    spare_replies: list[int]
    reply_rights: Rights
    notification: Notification
    endpoint: Endpoint | None
    pool: int  # 0 if there is none
    state: int  # the frame that outlives its processes; 0 if there is none
    io_spaces: dict[str, IOSpace]  # of its devices that have one, by the task's names for them
    placed: dict[int, Placed] = field(default_factory=dict)
    placed_devices: list[PlacedDevice] = field(default_factory=list)

    @property
    def guard(self) -> int:
        """The CNode's guard, as capability data: with it all 64 bits of an address are resolved."""
        return abi.cnode_cap_data(0, abi.WORD_BITS - self.cnode_bits)

    @property
    def bodies(self) -> tuple[Body, ...]:
        return (self.body,) if self.spare is None else (self.body, self.spare)

    @property
    def vspace(self) -> VSpace:
        return self.body.vspace

    @property
    def threads(self) -> tuple[Thread, ...]:
        return self.body.threads

    @property
    def main(self) -> Thread:
        return self.threads[0]


def make_objects(authority: Authority, task: Task) -> TaskObjects:
    """Retype everything that a task of this description consists of. Raises NotEnoughMemory."""

    def make(object_type: ObjectType, size_bits: int = 0) -> int:
        return authority.make(task.name, object_type, size_bits)

    return TaskObjects(
        cnode=CNode(make(ObjectType.CNODE, task.slot_bits)),
        cnode_bits=task.slot_bits,
        body=_make_body(authority, task),
        spare=_make_body(authority, task) if task.standby else None,
        reply=make(ObjectType.REPLY),
        spare_replies=[make(ObjectType.REPLY) for _ in range(task.spare_replies)],
        reply_rights=Rights(task.reply_rights),
        notification=Notification(make(ObjectType.NOTIFICATION)),
        endpoint=Endpoint(make(ObjectType.ENDPOINT)) if task.provides else None,
        pool=make(ObjectType.UNTYPED, task.pool.bit_length() - 1) if task.pool else 0,
        state=make(ObjectType.FRAME, task.state.bit_length() - 1) if task.state else 0,
        io_spaces={
            assigned.name: IOSpace(make(ObjectType.IO_SPACE, assigned.io_space.bit_length() - 1))
            for assigned in task.devices
            if assigned.io_space
        },
    )


def _make_body(authority: Authority, task: Task) -> Body:
    waiting = None
    if task.standby:
        waiting = Waiting(
            CNode(authority.make(task.name, ObjectType.CNODE, ROOM_BITS)),
            Notification(authority.make(task.name, ObjectType.NOTIFICATION)),
        )
    vspace = VSpace(authority.make(task.name, ObjectType.VSPACE, vspace_bits(task)))
    return Body(vspace, tuple(_make_thread(authority, task) for _ in range(1 + task.threads)), waiting)


def vspace_bits(task: Task) -> int:
    return task.memory.bit_length() - 1


def _make_thread(authority: Authority, task: Task) -> Thread:
    return Thread(
        TCB(authority.make(task.name, ObjectType.TCB)),
        Frame(authority.make(task.name, ObjectType.FRAME, abi.TRAP_FRAME_BITS)),
        SchedContext(authority.make(task.name, ObjectType.SCHED_CONTEXT, SCHED_CONTEXT_BITS)),
    )


def place(
    authority: Authority, objects: TaskObjects, index: int, slot: int, rights: Rights = Rights.ALL, badge: int = 0
) -> None:
    """Copy the capability in root's ``slot`` into slot ``index`` of the task's CNode, with a badge if it is not 0."""
    objects.placed[index] = Placed(slot, rights, badge)
    if badge:
        objects.cnode.mint(index, authority.cnode, slot, badge, rights, dest_depth=objects.cnode_bits)
    else:
        objects.cnode.copy(index, authority.cnode, slot, rights, dest_depth=objects.cnode_bits)


def place_device(authority: Authority, objects: TaskObjects, placed: PlacedDevice) -> None:
    """Give the task the ports, the interrupt's handler, which signals the task's notification, and the memory."""
    if placed not in objects.placed_devices:
        objects.placed_devices.append(placed)
    authority.io_port_control.issue(
        placed.first_port, placed.last_port, objects.cnode, placed.ports, objects.cnode_bits
    )
    _place_handler(authority, objects, placed)
    if placed.untyped:
        _place_memory(authority, objects, placed)


def _place_memory(authority: Authority, objects: TaskObjects, placed: PlacedDevice) -> None:
    objects.cnode.copy(placed.memory, authority.cnode, placed.untyped, dest_depth=objects.cnode_bits)


def _place_handler(authority: Authority, objects: TaskObjects, placed: PlacedDevice) -> None:
    temporary = authority.slots.allocate_range(2)
    authority.irq_control.get(placed.irq, authority.cnode, temporary[0])
    authority.cnode.mint(temporary[1], authority.cnode, objects.notification.cptr, SIGNAL_BADGE | placed.signal)
    IRQHandler(temporary[0]).set_notification(Notification(temporary[1]))
    authority.cnode.delete(temporary[1])
    objects.cnode.move(placed.handler, authority.cnode, temporary[0], dest_depth=objects.cnode_bits)
    authority.slots.free_range(temporary)


def emptied(objects: TaskObjects, occupied: Container[int]) -> bool:
    """Whether a slot that the description fills is not one of these: `refill` has something to do, or is to see."""
    filled = [Slot.CNODE, *objects.placed]
    for device in objects.placed_devices:
        if device.untyped:  # whoever has been handed some of it loses it
            return True
        filled += device.ports, device.handler
    return any(index not in occupied for index in filled)


def refill(
    authority: Authority, objects: TaskObjects, occupied: Container[int], gone: Container[int] = ()
) -> list[int]:
    """Fill again what the description fills, where the task itself has emptied it; returns those slots.

    What it was handed once, and deleted, nobody has: its pool. ``gone``: slots of root's that are empty for now.
    """
    filled = [index for index, placed in objects.placed.items() if index not in occupied and placed.cptr not in gone]
    for index in filled:
        placed = objects.placed[index]
        place(authority, objects, index, placed.cptr, placed.rights, placed.badge)
    if Slot.CNODE not in occupied:
        _place_cnode(authority, objects)
        filled.append(Slot.CNODE)
    for device in objects.placed_devices:
        if device.ports not in occupied:
            authority.io_port_control.issue(
                device.first_port, device.last_port, objects.cnode, device.ports, objects.cnode_bits
            )
            filled.append(device.ports)
        if device.handler not in occupied:
            _place_handler(authority, objects, device)
            filled.append(device.handler)
        if device.untyped:
            # Whoever has been handed some of it, and whatever the task has put there.
            authority.cnode.revoke(device.untyped)
            objects.cnode.delete(device.memory, objects.cnode_bits)
            _place_memory(authority, objects, device)
            if device.memory not in occupied:
                filled.append(device.memory)
    return filled


def place_again(authority: Authority, objects: TaskObjects, cptr: int) -> None:
    """Fill the slots that were filled from this slot of root's, and are empty: what it holds was made anew."""
    slots = {index: placed for index, placed in objects.placed.items() if placed.cptr == cptr}
    occupied = occupied_slots(objects.cnode.cptr, 1 << objects.cnode_bits) if slots else {}
    for index, placed in slots.items():
        if index not in occupied:
            place(authority, objects, index, placed.cptr, placed.rights, placed.badge)


def _place_cnode(authority: Authority, objects: TaskObjects) -> None:
    """The task's own CNode, in itself."""
    root, bits = authority.cnode, objects.cnode_bits
    objects.cnode.mint(Slot.CNODE, root, objects.cnode.cptr, objects.guard, dest_depth=bits)


def place_fixed(authority: Authority, objects: TaskObjects, parent: Endpoint, parent_badge: int) -> None:
    """Fill the first slots, which are the same in every task (`libsel4py.environment.Slot`)."""
    place(authority, objects, Slot.TCB, objects.main.tcb.cptr)
    _place_cnode(authority, objects)
    place(authority, objects, Slot.VSPACE, objects.vspace.cptr)
    place(authority, objects, Slot.PARENT, parent.cptr, Rights.WRITE | Rights.GRANT_REPLY, parent_badge)
    place(authority, objects, Slot.REPLY, objects.reply, objects.reply_rights)
    if objects.pool:
        objects.cnode.move(Slot.POOL, authority.cnode, objects.pool, dest_depth=objects.cnode_bits)
    place(authority, objects, Slot.NOTIFICATION, objects.notification.cptr)
    place(authority, objects, Slot.SCHED_CONTEXT, objects.main.sched_context.cptr)
    if objects.body.waiting is not None:
        place(authority, objects, Slot.TAKEOVER, objects.body.waiting.takeover.cptr, Rights.READ)


def configure_threads(authority: Authority, task: Task, objects: TaskObjects, faults: tuple[Endpoint, ...]) -> None:
    """Give each thread its spaces, trap frame, processor time and its own of the fault handlers."""
    with Batch() as batch:
        for index, fault in enumerate(faults):
            queue_settings(batch, authority, task, objects, index)
            queue_configuration(batch, authority, task, objects, index, fault)


def queue_settings(batch: Batch, authority: Authority, task: Task, objects: TaskObjects, index: int) -> None:
    """What a thread is given beside its spaces."""
    queue_time(batch, authority, task, objects.threads[index])
    queue_name(batch, task.name, objects, objects.body, index)


def queue_time(batch: Batch, authority: Authority, task: Task, thread: Thread) -> None:
    batch.queue(
        authority.core(task.core).configure_flags,
        thread.sched_context,
        task.budget_us,
        task.period_us,
        extra_refills=EXTRA_REFILLS,
        badge=0,
        flags=0,
    )


def queue_name(batch: Batch, name: str, objects: TaskObjects, body: Body, index: int) -> None:
    """The thread is one of the process that serves: called as the task is, and the first one hears its signals."""
    tcb = body.threads[index].tcb
    batch.queue(tcb.set_name, _thread_name(name, index))
    if index == 0:
        batch.queue(tcb.bind_notification, objects.notification)


def queue_names(batch: Batch, name: str, body: Body) -> None:
    """Queue that all threads that there are by then are called as the task is."""
    for index, thread in enumerate(body.threads):
        batch.queue_try(thread.tcb.set_name, _thread_name(name, index))


def _thread_name(name: str, index: int) -> str:
    return name if index == 0 else f"{name}.{index}"


def queue_configuration(
    batch: Batch,
    authority: Authority,
    task: Task,
    objects: TaskObjects,
    index: int,
    fault: Endpoint,
    body: Body | None = None,
) -> None:
    """A thread's spaces, trap frame and fault handler. The first thread of a ``body`` that stands by is in its room."""
    cnode, guard = objects.cnode, objects.guard
    if body is not None and body.waiting is not None and index == 0:
        cnode, guard = body.waiting.room, body.waiting.guard
    body = body or objects.body
    thread, address = body.threads[index], TRAP_FRAME_ADDRESS + (index << abi.TRAP_FRAME_BITS)
    batch.queue(thread.tcb.configure, cnode, guard, body.vspace, 0, address, thread.frame)
    batch.queue(
        thread.tcb.set_sched_params, authority.tcb, task.max_priority, task.priority, thread.sched_context, fault
    )


def remake_threads(authority: Authority, task: Task, objects: TaskObjects, faults: tuple[Endpoint, ...]) -> int:
    """Destroy the task's threads, and so its process, and make new ones in their place, which have not run yet.

    Returns the microseconds of processor time that the former ones had used and the kernel had not told of. All that
    one trap can carry goes by one: somebody waits for this task.
    """
    with Batch() as batch:
        consumed, own = queue_remaking(batch, authority, task, objects, faults)
    objects.placed |= own
    return sum(used.result() for used in consumed)


def queue_remaking(
    batch: Batch, authority: Authority, task: Task, objects: TaskObjects, faults: tuple[Endpoint, ...]
) -> tuple[list[Pending[int]], dict[int, Placed]]:
    """Queue what `remake_threads` does. Returns what will be the former ones' processor time, and the task's slots that
    name its own objects."""
    consumed = queue_threads_renewal(batch, authority, objects.body)
    own = own_slots(objects, objects.body)
    queue_own_slots(batch, authority, objects, own)
    for index, fault in enumerate(faults):
        queue_settings(batch, authority, task, objects, index)
        queue_configuration(batch, authority, task, objects, index, fault)
    return consumed, own


def queue_threads_renewal(batch: Batch, authority: Authority, body: Body) -> list[Pending[int]]:
    """Queue that a body's threads, and so its process, are destroyed, and new ones made. Returns what will be their
    processor time."""
    consumed = [batch.queue(thread.sched_context.consumed) for thread in body.threads]
    for thread in reversed(body.threads):
        authority.memory.queue_renewal(batch, thread.tcb.cptr, ObjectType.TCB)
        authority.memory.queue_renewal(batch, thread.sched_context.cptr, ObjectType.SCHED_CONTEXT, SCHED_CONTEXT_BITS)
        authority.memory.queue_renewal(batch, thread.frame.cptr, ObjectType.FRAME, abi.TRAP_FRAME_BITS)
    return consumed


def own_slots(objects: TaskObjects, body: Body) -> dict[int, Placed]:
    """The slots of the task's CNode which name what is of its process, where that is in this body."""
    main, waiting = body.threads[0], body.waiting
    own = {Slot.TCB: main.tcb.cptr, Slot.SCHED_CONTEXT: main.sched_context.cptr}
    if waiting is not None:
        own |= {Slot.VSPACE: body.vspace.cptr, Slot.TAKEOVER: waiting.takeover.cptr}
    return {slot: replace(objects.placed[slot], cptr=cptr) for slot, cptr in own.items()}


def queue_own_slots(batch: Batch, authority: Authority, objects: TaskObjects, own: dict[int, Placed]) -> None:
    """Queue that these slots hold this."""
    bits = objects.cnode_bits
    for slot, placed in own.items():
        batch.queue(objects.cnode.delete, slot, bits)  # the task may have put another one there
        batch.queue(objects.cnode.copy, slot, authority.cnode, placed.cptr, placed.rights, dest_depth=bits)


def start(objects: TaskObjects, image: int, strict: bool) -> None:
    """Let the task's threads run the boot image from its beginning, the first one first.

    Args:
        strict: on a virtual core, where of threads that are made to wait the last one runs first.
    """
    for thread in reversed(objects.threads) if strict else objects.threads:
        start_thread(thread, image)


def queue_start(batch: Batch, thread: Thread, image: int) -> None:
    """Queue that a thread which was just made runs the boot image from its beginning: its other registers are 0."""
    batch.queue(thread.tcb.write_registers, 1, (image,))


def start_thread(thread: Thread, image: int) -> None:
    thread.tcb.write_registers(1, (image, *[0] * (abi.REGISTERS - 1)))
