"""Capabilities of the abstract specification: values, and what a copy of one may be.

Written from the manual's rules (badges are given once, rights only shrink, guards replace each other), not from the
kernel's code. Objects are named by their physical address, which the specification works out itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import Final

from libsel4py import abi


class Kind(Enum):
    UNTYPED = "untyped"
    ENDPOINT = "endpoint"
    NOTIFICATION = "notification"
    REPLY = "reply"
    CNODE = "cnode"
    TCB = "tcb"
    SCHED_CONTEXT = "sched_context"
    FRAME = "frame"
    VSPACE = "vspace"
    SCHED_CONTROL = "sched_control"
    IRQ_CONTROL = "irq_control"
    IRQ_HANDLER = "irq_handler"
    IO_PORT_CONTROL = "io_port_control"
    IO_PORT = "io_port"
    DOMAIN = "domain"
    ZOMBIE = "zombie"
    CHANNEL = "channel"
    IO_SPACE = "io_space"
    IO_SPACE_CONTROL = "io_space_control"
    DEATH_NOTICE = "death_notice"


BADGED: Final = (Kind.ENDPOINT, Kind.NOTIFICATION)
WITH_RIGHTS: Final = (Kind.ENDPOINT, Kind.NOTIFICATION, Kind.REPLY, Kind.FRAME)
NEVER_COPIED: Final = (Kind.IRQ_CONTROL, Kind.IO_PORT_CONTROL, Kind.IO_SPACE_CONTROL, Kind.ZOMBIE)
READ, WRITE, GRANT, GRANT_REPLY = abi.Rights.READ, abi.Rights.WRITE, abi.Rights.GRANT, abi.Rights.GRANT_REPLY


@dataclass(frozen=True, slots=True)
class Capability:
    """What a slot can hold. Fields that a kind does not have are 0.

    Attributes:
        address: of the object. bits: log2 of its bytes (CNode: of its slots; zombie: of the slots that it covers).
        badge: of endpoints and notifications; line or ports of the others.
    """

    kind: Kind
    address: int = 0
    bits: int = 0
    rights: int = 0
    badge: int = 0
    guard: int = 0
    guard_size: int = 0

    def __reduce__(self) -> tuple[type[Capability], tuple[Kind | int, ...]]:
        """A state of the specification is put aside and taken up again for each step of a search."""
        return Capability, (self.kind, self.address, self.bits, self.rights, self.badge, self.guard, self.guard_size)

    @property
    def writable(self) -> bool:
        return bool(self.rights & WRITE)

    @property
    def readable(self) -> bool:
        return bool(self.rights & READ)

    @property
    def can_grant(self) -> bool:
        return bool(self.rights & GRANT)

    @property
    def can_grant_reply(self) -> bool:
        return bool(self.rights & GRANT_REPLY)

    @property
    def handles_faults(self) -> bool:
        """Whether it can be a fault handler: it sends, and what it sends can be answered."""
        return self.kind is Kind.ENDPOINT and self.writable and (self.can_grant or self.can_grant_reply)

    def names_object_of(self, other: Capability) -> bool:
        """Whether both are capabilities to one object. An untyped capability has no object that outlives it."""
        if self.kind is not other.kind or self.kind in (Kind.UNTYPED, Kind.ZOMBIE):
            return False
        if self.kind in (Kind.IRQ_HANDLER, Kind.IO_PORT):
            return self.badge == other.badge
        return self.address == other.address

    def limited_to(self, rights: int) -> Capability:
        """With at most these rights; kinds without rights stay as they are."""
        return replace(self, rights=self.rights & rights) if self.kind in WITH_RIGHTS else self

    def with_data(self, data: int, *, moving: bool) -> Capability | None:
        """With a badge or guard. None: there is no such capability."""
        if self.kind in BADGED:
            return None if moving or self.badge else replace(self, badge=data)
        if self.kind is Kind.CNODE:
            size = data & 63
            if size + self.bits > abi.WORD_BITS:
                return None
            return replace(self, guard=data >> 6 & ((1 << size) - 1), guard_size=size)
        return self


NEW_RIGHTS: Final = {
    Kind.ENDPOINT: int(abi.Rights.ALL),
    Kind.NOTIFICATION: int(READ | WRITE),
    Kind.REPLY: int(abi.Rights.ALL),
    Kind.FRAME: int(READ | WRITE),
}
KIND_OF_TYPE: Final = {
    abi.ObjectType.UNTYPED: Kind.UNTYPED,
    abi.ObjectType.TCB: Kind.TCB,
    abi.ObjectType.ENDPOINT: Kind.ENDPOINT,
    abi.ObjectType.NOTIFICATION: Kind.NOTIFICATION,
    abi.ObjectType.CNODE: Kind.CNODE,
    abi.ObjectType.SCHED_CONTEXT: Kind.SCHED_CONTEXT,
    abi.ObjectType.REPLY: Kind.REPLY,
    abi.ObjectType.FRAME: Kind.FRAME,
    abi.ObjectType.VSPACE: Kind.VSPACE,
    abi.ObjectType.CHANNEL: Kind.CHANNEL,
    abi.ObjectType.IO_SPACE: Kind.IO_SPACE,
    abi.ObjectType.DEATH_NOTICE: Kind.DEATH_NOTICE,
}
SIZED: Final = (Kind.UNTYPED, Kind.CNODE, Kind.SCHED_CONTEXT, Kind.FRAME, Kind.VSPACE, Kind.IO_SPACE)


def new_capability(object_type: abi.ObjectType, address: int, size_bits: int) -> Capability:
    """The first capability to a new object."""
    kind = KIND_OF_TYPE[object_type]
    return Capability(kind, address, size_bits if kind in SIZED else 0, NEW_RIGHTS.get(kind, 0))
