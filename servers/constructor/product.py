"""One product: a task that is made of its requestor's memory alone.

What it holds when it begins: its own objects, all made of the pool; what the constructor has installed; and for its
first question to its parent, a capability to this server, which is taken away before that is answered. So what is left
leads to the requestor, and by what was installed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from libsel4py import abi
from libsel4py.abi import ObjectType, Rights
from libsel4py.badges import Badges
from libsel4py.capabilities import (
    TCB,
    CNode,
    Endpoint,
    Frame,
    Notification,
    SchedContext,
    SchedControl,
    VSpace,
)
from libsel4py.environment import Connection, Environment, Provided, Slot
from libsel4py.session import Session
from libsel4py.task import Task
from servers.constructor.parts import Contents, Installed, Program

SLOT_BITS: Final = 9  # log2 of the slots of its CNode
SCHED_CONTEXT_BITS: Final = 8
TRAP_FRAME_ADDRESS: Final = 0x20_0000_0000  # as root has it for its tasks
PRIORITY: Final = 90  # below that of servers and of those who use it
BUDGET_US: Final = 10_000
SLOTS: Final = 10  # of the session that it is
PROVIDED: Final = "main"
REQUESTOR_BADGE: Final = 1
OBJECTS_BITS: Final = 17  # more than all but its memory and its pool take


@dataclass(frozen=True, slots=True)
class Product:
    """``parent`` and ``fault`` are its badges at this server."""

    cnode: CNode
    tcb: TCB
    endpoint: Endpoint
    environment: Environment
    number: int
    parent: int
    fault: int

    def forget_parent(self) -> None:
        """Take away its capability to this server."""
        self.cnode.delete(Slot.PARENT, SLOT_BITS)

    def start(self) -> None:
        self.tcb.write_registers(1, (self.number, *[0] * (abi.REGISTERS - 1)))

    def key(self, task: Task, slot: int) -> Endpoint:
        """What its requestor calls it by, in a free slot."""
        rights = Rights.WRITE | Rights.GRANT | Rights.GRANT_REPLY
        task.cnode.mint(slot, task.cnode, self.endpoint.cptr, REQUESTOR_BADGE, rights)
        return Endpoint(slot)


def pool_bits_for(program: Program) -> int:
    """log2 of the bytes of a pool that is enough."""
    needed = (1 << program.memory_bits) + (1 << program.pool_bits) + (1 << OBJECTS_BITS)
    return (needed - 1).bit_length()


def make(task: Task, session: Session[Product], contents: Contents, badges: Badges, control: SchedControl) -> Product:
    """All of it, not started. Raises NotEnoughMemory, OutOfSlots, SessionEnded, KernelError."""
    program = contents.program
    assert program is not None
    vspace = VSpace(session.make(ObjectType.VSPACE, program.memory_bits).start)
    pool = session.make(ObjectType.UNTYPED, program.pool_bits).start
    cnode = CNode(session.make(ObjectType.CNODE, SLOT_BITS).start)
    tcb = TCB(session.make(ObjectType.TCB).start)
    frame = Frame(session.make(ObjectType.FRAME, abi.TRAP_FRAME_BITS).start)
    context = SchedContext(session.make(ObjectType.SCHED_CONTEXT, SCHED_CONTEXT_BITS).start)
    reply = session.make(ObjectType.REPLY).start
    notification = Notification(session.make(ObjectType.NOTIFICATION).start)
    endpoint = Endpoint(session.make(ObjectType.ENDPOINT).start)
    guard = abi.cnode_cap_data(0, abi.WORD_BITS - SLOT_BITS)

    def place(slot: int, source: int, rights: Rights = Rights.ALL) -> None:
        cnode.copy(slot, task.cnode, source, rights, dest_depth=SLOT_BITS)

    own = {
        Slot.TCB: tcb.cptr,
        Slot.VSPACE: vspace.cptr,
        Slot.REPLY: reply,
        Slot.NOTIFICATION: notification.cptr,
        Slot.SCHED_CONTEXT: context.cptr,
        Slot.FIRST_CONNECTION: endpoint.cptr,
    }
    for slot, source in own.items():
        place(slot, source)
    cnode.mint(Slot.CNODE, task.cnode, cnode.cptr, guard, dest_depth=SLOT_BITS)
    cnode.move(Slot.POOL, task.cnode, pool, dest_depth=SLOT_BITS)
    slots: dict[str, int] = {}
    for index, installed in enumerate(contents.installed.values(), Slot.FIRST_CONNECTION + 1):
        place(index, installed.capability.cptr)
        slots[installed.part.name] = index
    parent, fault = badges.new(), badges.new()
    place(Slot.PARENT, badges.file(parent).cptr, Rights.WRITE | Rights.GRANT_REPLY)
    control.configure_flags(context, BUDGET_US, BUDGET_US, extra_refills=0, badge=0, flags=0)
    tcb.configure(cnode, guard, vspace, 0, TRAP_FRAME_ADDRESS, frame)
    tcb.set_sched_params(task.tcb, PRIORITY, PRIORITY, context, badges.file(fault))
    tcb.bind_notification(notification)
    tcb.set_name("product")
    environment = _environment(program, list(contents.installed.values()), slots)
    return Product(cnode, tcb, endpoint, environment, program.number, parent, fault)


def _environment(program: Program, installed: list[Installed], slots: dict[str, int]) -> Environment:
    """What it is told. Endpoints are its connections; all else it finds by name."""
    first = Slot.FIRST_CONNECTION + 1 + len(installed)
    endpoints = {each.part.name: each.part for each in installed if each.part.kind == abi.CapType.ENDPOINT.name}
    return Environment(
        name="product",
        connections={name: Connection(slots[name], part.interface) for name, part in endpoints.items()},
        provides={PROVIDED: Provided(Slot.FIRST_CONNECTION, program.interface, {REQUESTOR_BADGE: "requestor"})},
        authorities={name: slot for name, slot in slots.items() if name not in endpoints},
        first_free_slot=first,
        free_slots=(1 << SLOT_BITS) - first,
        pool_bits=program.pool_bits,
    )
