"""Capability words: what two words in a slot say, and the values made from them.

word 0: type 5 bits | what the type adds 19 bits | object address 40 bits. word 1: badge, guard, free index, … by type:

    endpoint, notification   rights 4 bits, bound 1                 word 1: badge
    reply                    rights (GRANT alone counts)
    CNode                    radix 6, guard size 6                  word 1: guard
    untyped                  size bits 6, is device 1               word 1: free index in bytes
    frame                    rights 4, size bits 6, is device 1     word 1: 0, or where this capability is mapped
    VSpace                   size bits 6                            word 1: 0, or the TCB whose list place it stands for
    IOSpace                  size bits 6
    sched. context           size bits 6
    IRQ handler              word 1: line                IO port    word 1: first << 16 | last
    zombie                   radix 6, of what 2 (ZombieOf)          word 1: slots that remain

Where a frame capability is mapped: address >> 12 in bits 28..62, address of the VSpace >> 12 below that; bit 63 is set
where it is an IOSpace. Copies are not mapped; what moves a capability tells the space's table (`mapping_table.py`).

Bound is a capability that a channel is connected by, or that a thread listens by: its end is theirs. The flag is of the
slot (a channel's, or a TCB's LISTEN): `channels.py` and `listening.py` set and clear it, and copies do not have it.

A `Cap` is a value, never a place: places are slots.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final, NamedTuple

from kerneld.records import TCB_SLOTS, CapType, Channel, DeathNotice, Slot
from libsel4py.abi import FRAME_MIN_BITS, ObjectType, Rights, object_size_bits

TYPE_SHIFT: Final = 59
EXTRA_SHIFT: Final = 40
OBJECT_MASK: Final = (1 << 40) - 1
BOUND: Final = 1 << EXTRA_SHIFT + 4
MAPPED_BY_IO: Final = 1 << 63
_PAGE_BITS: Final = FRAME_MIN_BITS
_SPACE_BITS: Final = 28
ENDPOINT_LIKE: Final = (CapType.ENDPOINT, CapType.NOTIFICATION)


class ZombieOf(IntEnum):
    """What a zombie is left of."""

    CNODE = 0
    TCB = 1
    CHANNEL = 2
    DEATH_NOTICE = 3


class Cap(NamedTuple):
    """The two words. The properties are meaningful for the types that the module's table lists."""

    word0: int
    word1: int

    @property
    def type(self) -> CapType:
        return CapType(self.word0 >> TYPE_SHIFT)

    @property
    def object(self) -> int:
        """Physical address of the object."""
        return self.word0 & OBJECT_MASK

    @property
    def is_null(self) -> bool:
        return self.word0 >> TYPE_SHIFT == 0

    @property
    def rights(self) -> int:
        return self.word0 >> EXTRA_SHIFT & 15

    @property
    def badge(self) -> int:
        return self.word1

    @property
    def radix(self) -> int:
        return self.word0 >> EXTRA_SHIFT & 63

    @property
    def guard_size(self) -> int:
        return self.word0 >> EXTRA_SHIFT + 6 & 63

    @property
    def guard(self) -> int:
        return self.word1

    @property
    def size_bits(self) -> int:
        """Untyped, VSpace, IOSpace, scheduling context."""
        return self.word0 >> EXTRA_SHIFT & 63

    @property
    def is_device(self) -> bool:
        """Untyped."""
        return bool(self.word0 >> EXTRA_SHIFT + 6 & 1)

    @property
    def free_index(self) -> int:
        """Untyped: bytes from its start that are taken."""
        return self.word1

    @property
    def frame_size_bits(self) -> int:
        return self.word0 >> EXTRA_SHIFT + 4 & 63

    @property
    def frame_is_device(self) -> bool:
        return bool(self.word0 >> EXTRA_SHIFT + 10 & 1)

    @property
    def is_mapped(self) -> bool:
        """Frame."""
        return self.word1 != 0 and self.word0 >> TYPE_SHIFT == CapType.FRAME

    @property
    def mapped_space(self) -> int:
        """Mapped frame: physical address of the VSpace or IOSpace."""
        return (self.word1 & (1 << _SPACE_BITS) - 1) << _PAGE_BITS

    @property
    def mapped_address(self) -> int:
        """Mapped frame: where in that space."""
        return (self.word1 & ~MAPPED_BY_IO) >> _SPACE_BITS << _PAGE_BITS

    @property
    def is_mapped_by_io(self) -> bool:
        """Mapped frame: the space is an IOSpace."""
        return bool(self.word1 & MAPPED_BY_IO)

    @property
    def irq(self) -> int:
        return self.word1

    @property
    def first_port(self) -> int:
        return self.word1 >> 16

    @property
    def last_port(self) -> int:
        return self.word1 & 0xFFFF

    @property
    def zombie_of(self) -> int:
        """A ZombieOf, unless RAM is damaged."""
        return self.word0 >> EXTRA_SHIFT + 6 & 3

    @property
    def zombie_slots(self) -> int:
        """The slots that the zombie's object has in all."""
        return _SLOTS_INSIDE.get(self.zombie_of, 1 << self.radix)


_SLOTS_INSIDE: Final[dict[int, int]] = {
    ZombieOf.TCB: TCB_SLOTS,
    ZombieOf.CHANNEL: Channel.SLOTS,
    ZombieOf.DEATH_NOTICE: DeathNotice.SLOTS,
}
NULL: Final = Cap(0, 0)


def _cap(kind: CapType, address: int, extra: int = 0, word1: int = 0) -> Cap:
    return Cap(kind << TYPE_SHIFT | extra << EXTRA_SHIFT | address, word1)


def untyped(address: int, size_bits: int, is_device: bool, free_index: int = 0) -> Cap:
    return _cap(CapType.UNTYPED, address, size_bits | is_device << 6, free_index)


def endpoint(address: int, rights: int = Rights.ALL, badge: int = 0) -> Cap:
    return _cap(CapType.ENDPOINT, address, rights, badge)


def notification(address: int, rights: int = Rights.READ | Rights.WRITE, badge: int = 0) -> Cap:
    return _cap(CapType.NOTIFICATION, address, rights, badge)


def reply(address: int, rights: int = Rights.ALL) -> Cap:
    return _cap(CapType.REPLY, address, rights)


def cnode(address: int, radix: int, guard: int = 0, guard_size: int = 0) -> Cap:
    return _cap(CapType.CNODE, address, radix | guard_size << 6, guard)


def tcb(address: int) -> Cap:
    return _cap(CapType.TCB, address)


def sched_context(address: int, size_bits: int) -> Cap:
    return _cap(CapType.SCHED_CONTEXT, address, size_bits)


def sched_control(core: int) -> Cap:
    return _cap(CapType.SCHED_CONTROL, 0, 0, core)


def irq_control() -> Cap:
    return _cap(CapType.IRQ_CONTROL, 0)


def irq_handler(irq: int) -> Cap:
    return _cap(CapType.IRQ_HANDLER, 0, 0, irq)


def frame(address: int, size_bits: int, rights: int = Rights.READ | Rights.WRITE, is_device: bool = False) -> Cap:
    return _cap(CapType.FRAME, address, rights | size_bits << 4 | is_device << 10)


def mapped(cap: Cap, space: int, address: int, *, by_io: bool = False) -> Cap:
    """The frame capability as it is while it is mapped in the VSpace or IOSpace at a physical address."""
    where = address >> _PAGE_BITS << _SPACE_BITS | space >> _PAGE_BITS
    return Cap(cap.word0, where | MAPPED_BY_IO if by_io else where)


def vspace(address: int, size_bits: int) -> Cap:
    return _cap(CapType.VSPACE, address, size_bits)


def io_port_control() -> Cap:
    return _cap(CapType.IO_PORT_CONTROL, 0)


def io_port(first: int, last: int) -> Cap:
    return _cap(CapType.IO_PORT, 0, 0, first << 16 | last)


def domain() -> Cap:
    return _cap(CapType.DOMAIN, 0)


def channel(address: int) -> Cap:
    return _cap(CapType.CHANNEL, address)


def io_space(address: int, size_bits: int) -> Cap:
    return _cap(CapType.IO_SPACE, address, size_bits)


def io_space_control() -> Cap:
    return _cap(CapType.IO_SPACE_CONTROL, 0)


def death_notice(address: int) -> Cap:
    return _cap(CapType.DEATH_NOTICE, address)


def zombie(address: int, of: ZombieOf, slots: int, radix: int = 0) -> Cap:
    """What is left of an object; ``radix`` of a CNode."""
    return _cap(CapType.ZOMBIE, address, radix | of << 6, slots)


def with_badge(cap: Cap, badge: int) -> Cap:
    return Cap(cap.word0, badge)


def with_rights(cap: Cap, rights: int) -> Cap:
    return Cap(cap.word0 & ~(15 << EXTRA_SHIFT) | rights << EXTRA_SHIFT, cap.word1)


def mask_rights(cap: Cap, rights: int) -> Cap:
    """The capability with at most these rights; types without rights stay as they are."""
    match cap.type:
        case CapType.ENDPOINT | CapType.NOTIFICATION | CapType.REPLY | CapType.FRAME:
            return with_rights(cap, cap.rights & rights)
        case _:
            return cap


def bind(cap: Cap) -> Cap:
    """The endpoint or notification capability as the slot holds it on which a channel or a listening thread hangs."""
    return Cap(cap.word0 | BOUND, cap.word1)


def is_bound(cap: Cap) -> bool:
    return bool(cap.word0 & BOUND) and cap.word0 >> TYPE_SHIFT in ENDPOINT_LIKE


def read(slot: Slot) -> Cap:
    """The capability that a slot holds."""
    return Cap(slot.word0, slot.word1)


def write(slot: Slot, cap: Cap) -> None:
    slot.word0 = cap.word0
    slot.word1 = cap.word1


FIXED_BYTES: Final[dict[int, int]] = {
    CapType.ENDPOINT: 1 << object_size_bits(ObjectType.ENDPOINT, 0),
    CapType.NOTIFICATION: 1 << object_size_bits(ObjectType.NOTIFICATION, 0),
    CapType.REPLY: 1 << object_size_bits(ObjectType.REPLY, 0),
    CapType.TCB: 1 << object_size_bits(ObjectType.TCB, 0),
    CapType.CHANNEL: 1 << object_size_bits(ObjectType.CHANNEL, 0),
    CapType.DEATH_NOTICE: 1 << object_size_bits(ObjectType.DEATH_NOTICE, 0),
}
ZOMBIE_BYTES: Final[dict[int, int]] = {
    ZombieOf.TCB: FIXED_BYTES[CapType.TCB],
    ZombieOf.CHANNEL: FIXED_BYTES[CapType.CHANNEL],
    ZombieOf.DEATH_NOTICE: FIXED_BYTES[CapType.DEATH_NOTICE],
}


def region(cap: Cap) -> tuple[int, int] | None:
    """(address, bytes) of the memory that the capability's object fills; None where it has no memory of its own."""
    kind = cap.type
    match kind:
        case kind if kind in FIXED_BYTES:
            return cap.object, FIXED_BYTES[kind]
        case CapType.UNTYPED | CapType.VSPACE | CapType.SCHED_CONTEXT | CapType.IO_SPACE:
            return cap.object, 1 << cap.size_bits
        case CapType.FRAME:
            return cap.object, 1 << cap.frame_size_bits
        case CapType.CNODE:
            return cap.object, Slot.SIZE << cap.radix
        case CapType.ZOMBIE:
            return cap.object, ZOMBIE_BYTES.get(cap.zombie_of, Slot.SIZE << cap.radix)
        case _:
            return None
