"""The derivation order: which capability was made from which (seL4's mapping database, `cnode.c`).

All capabilities that stem from one root are in one doubly linked list, in preorder: children stand behind
their parent. Depth is not stored; `is_mdb_parent_of` finds it again from what the capabilities say.

Rules: these functions move and link capabilities and nothing else. Whether a capability may be derived is `derive.py`'s
matter; what the end of an object means is `deletion.py`'s. The table of a frame's mapping follows its capability. They
are hot: words are read once, and addresses are compared without making views.
"""

from __future__ import annotations

from typing import Final

from kerneld import caps, mapping_table
from kerneld.caps import EXTRA_SHIFT, OBJECT_MASK, TYPE_SHIFT, Cap
from kerneld.core import Core
from kerneld.records import ADDRESS_MASK, LOW_BITS, CapType, MappingSpace, Slot

REVOCABLE: Final = 2  # Slot.revocable and Slot.first_badged inside Slot.mdb_word
FIRST_BADGED: Final = 1
WATCHED: Final = 4  # Slot.watched, likewise
CHILD_OF_OBJECT: Final = REVOCABLE | FIRST_BADGED

PREV_OFFSET: Final = 16
MDB_OFFSET: Final = 24

_TYPE_MASK: Final = 31 << TYPE_SHIFT
_AND_SIZE: Final = _TYPE_MASK | OBJECT_MASK | 63 << EXTRA_SHIFT
_FRAME_MASK: Final = _TYPE_MASK | OBJECT_MASK | 127 << EXTRA_SHIFT + 4
_BADGED: Final = (CapType.ENDPOINT, CapType.NOTIFICATION)

# Two capabilities name the same object when word 0 agrees in these bits, and word 1 for the types in BY_NUMBER.
IDENTITY: Final[dict[int, int]] = {
    CapType.ENDPOINT: _TYPE_MASK | OBJECT_MASK,
    CapType.NOTIFICATION: _TYPE_MASK | OBJECT_MASK,
    CapType.REPLY: _TYPE_MASK | OBJECT_MASK,
    CapType.CNODE: _AND_SIZE,
    CapType.TCB: _TYPE_MASK | OBJECT_MASK,
    CapType.SCHED_CONTEXT: _AND_SIZE,
    CapType.SCHED_CONTROL: _TYPE_MASK,
    CapType.IRQ_CONTROL: _TYPE_MASK,
    CapType.IRQ_HANDLER: _TYPE_MASK,
    CapType.FRAME: _FRAME_MASK,
    CapType.VSPACE: _AND_SIZE,
    CapType.IO_PORT_CONTROL: _TYPE_MASK,
    CapType.IO_PORT: _TYPE_MASK,
    CapType.DOMAIN: _TYPE_MASK,
    CapType.CHANNEL: _TYPE_MASK | OBJECT_MASK,
    CapType.IO_SPACE: _AND_SIZE,
    CapType.IO_SPACE_CONTROL: _TYPE_MASK,
    CapType.DEATH_NOTICE: _TYPE_MASK | OBJECT_MASK,
}
BY_NUMBER: Final = (CapType.IRQ_HANDLER, CapType.IO_PORT)
_ISSUES: Final[dict[int, int]] = {CapType.IRQ_CONTROL: CapType.IRQ_HANDLER, CapType.IO_PORT_CONTROL: CapType.IO_PORT}


def same_object(first: Cap, second: Cap) -> bool:
    """Whether both name one object. Never true of untyped memory and zombies, whose every capability is the last."""
    kind = first.word0 >> TYPE_SHIFT
    mask = IDENTITY.get(kind)
    if mask is None or (first.word0 ^ second.word0) & mask:
        return False
    return kind not in BY_NUMBER or first.word1 == second.word1


def identity(cap: Cap) -> tuple[int, int] | None:
    """What tells the capability's object from all others, or None where `same_object` is never true."""
    kind = cap.word0 >> TYPE_SHIFT
    mask = IDENTITY.get(kind)
    return None if mask is None else (cap.word0 & mask, cap.word1 if kind in BY_NUMBER else 0)


def same_region(first: Cap, second: Cap) -> bool:
    """Whether what ``second`` names is, or lies inside, what ``first`` names."""
    kind = first.word0 >> TYPE_SHIFT
    if kind == CapType.UNTYPED:
        inner = caps.region(second)
        if inner is None:
            return False
        start = first.word0 & OBJECT_MASK
        return start <= inner[0] and inner[0] + inner[1] <= start + (1 << first.size_bits)
    if second.word0 >> TYPE_SHIFT == _ISSUES.get(kind):
        return True
    return same_object(first, second)


def is_mdb_parent_of(parent: Slot, child: Slot) -> bool:
    """Whether the capability in ``child``, which stands behind ``parent`` in the order, was derived from it."""
    if not parent.mdb_word & REVOCABLE:
        return False
    above = Cap(parent.word0, parent.word1)
    below = Cap(child.word0, child.word1)
    if not same_region(above, below):
        return False
    if above.word1 and above.word0 >> TYPE_SHIFT in _BADGED:
        return above.word1 == below.word1 and not child.mdb_word & FIRST_BADGED
    return True


def is_revocable(derived: Cap, source: Cap) -> bool:
    """Whether copies of a newly derived capability become its children."""
    kind = derived.word0 >> TYPE_SHIFT
    if kind in _BADGED:
        return derived.word1 != source.word1
    if kind == CapType.UNTYPED:
        return True
    return kind == _ISSUES.get(source.word0 >> TYPE_SHIFT)


def insert(core: Core, cap: Cap, source: Slot, destination: Slot) -> None:
    """Put ``cap``, derived from the capability in ``source``, into the empty slot ``destination``."""
    ram = core.ram
    original = Cap(source.word0, source.word1)
    links = source.mdb_word
    if original.word0 >> TYPE_SHIFT == CapType.UNTYPED and not (original.word0 ^ cap.word0) & _AND_SIZE:
        source.word1 = 1 << original.size_bits  # while the child lives, nothing is made from the parent
    at = destination.address
    destination.word0 = cap.word0
    destination.word1 = cap.word1
    destination.prev = source
    destination.mdb_word = links & ADDRESS_MASK | (CHILD_OF_OBJECT if is_revocable(cap, original) else 0)
    source.mdb_word = links & LOW_BITS | at
    if links & ADDRESS_MASK:
        ram.set_word((links & ADDRESS_MASK) + PREV_OFFSET, at)


def insert_new(core: Core, parent: Slot, destination: Slot, cap: Cap) -> None:
    """Put the first capability of a new object, made from the untyped memory in ``parent``, into ``destination``."""
    ram = core.ram
    links = parent.mdb_word
    at = destination.address
    destination.word0 = cap.word0
    destination.word1 = cap.word1
    destination.prev = parent
    destination.mdb_word = links & ADDRESS_MASK | CHILD_OF_OBJECT
    parent.mdb_word = links & LOW_BITS | at
    if links & ADDRESS_MASK:
        ram.set_word((links & ADDRESS_MASK) + PREV_OFFSET, at)


def insert_root(destination: Slot, cap: Cap) -> None:
    """Put a capability that stems from nothing into an empty slot: the machine's first ones (boot.py)."""
    destination.word0 = cap.word0
    destination.word1 = cap.word1
    destination.mdb_word = CHILD_OF_OBJECT


def move(core: Core, cap: Cap, source: Slot, destination: Slot) -> None:
    """Put ``cap`` into the empty slot ``destination``, at the place in the order that ``source`` had; empty that."""
    ram = core.ram
    prev = ram.word(source.address + PREV_OFFSET)
    links = source.mdb_word
    _store(source, 0, 0, 0, 0)
    _store(destination, cap.word0, cap.word1, prev, links)
    _point_neighbours_at(core, destination.address, prev, links)
    if cap.is_mapped:
        _tell_table(core, cap, destination)


def swap(core: Core, cap1: Cap, slot1: Slot, cap2: Cap, slot2: Slot) -> None:
    """Exchange two slots: ``slot1`` gets ``cap2`` and slot2's place in the order, ``slot2`` gets ``cap1`` and slot1's.

    The slots may be neighbours in the order: links are read again after the first exchange, as in `cteSwap`.
    """
    ram = core.ram
    at1, at2 = slot1.address, slot2.address
    slot1.word0, slot1.word1 = cap2.word0, cap2.word1
    slot2.word0, slot2.word1 = cap1.word0, cap1.word1
    for cap, slot in ((cap1, slot2), (cap2, slot1)):
        if cap.is_mapped:
            _tell_table(core, cap, slot)
    prev1, links1 = ram.word(at1 + PREV_OFFSET), slot1.mdb_word
    _point_neighbours_at(core, at2, prev1, links1)
    prev2, links2 = ram.word(at2 + PREV_OFFSET), slot2.mdb_word
    ram.set_word(at1 + PREV_OFFSET, prev2)
    slot1.mdb_word = links2
    ram.set_word(at2 + PREV_OFFSET, prev1)
    slot2.mdb_word = links1
    _point_neighbours_at(core, at1, prev2, links2)


def empty(core: Core, slot: Slot) -> None:
    """Take the capability out of the slot and out of the order."""
    ram = core.ram
    prev = ram.word(slot.address + PREV_OFFSET)
    links = slot.mdb_word
    following = links & ADDRESS_MASK
    if prev:
        before = ram.word(prev + MDB_OFFSET)
        ram.set_word(prev + MDB_OFFSET, before & LOW_BITS | following)
    if following:
        ram.set_word(following + PREV_OFFSET, prev)
        if links & FIRST_BADGED:  # it is now the first of its badge
            ram.set_word(following + MDB_OFFSET, ram.word(following + MDB_OFFSET) | FIRST_BADGED)
    _store(slot, 0, 0, 0, 0)


def has_children(slot: Slot) -> bool:
    """Whether a capability derived from this one exists."""
    following = slot.next
    return following is not None and is_mdb_parent_of(slot, following)


def is_last_copy(slot: Slot) -> bool:
    """Whether a capability that is watched for its copies has no other one than this. What is last stands behind it."""
    before, after = slot.prev, slot.next
    if before is None or not before.mdb_word & WATCHED:
        return False
    return after is None or not is_mdb_parent_of(before, after)


def is_final(slot: Slot) -> bool:
    """Whether the slot holds the last capability to its object. Capabilities to one object are always neighbours."""
    cap = Cap(slot.word0, slot.word1)
    before = slot.prev
    if before is not None and same_object(Cap(before.word0, before.word1), cap):
        return False
    after = slot.next
    return after is None or not same_object(cap, Cap(after.word0, after.word1))


def _store(slot: Slot, word0: int, word1: int, prev: int, mdb_word: int) -> None:
    slot.word0 = word0
    slot.word1 = word1
    slot.ram.set_word(slot.address + PREV_OFFSET, prev)
    slot.mdb_word = mdb_word


def _tell_table(core: Core, cap: Cap, slot: Slot) -> None:
    """A mapped frame capability has come into this slot: the table of its mapping names it."""
    mapping_table.set_slot(MappingSpace(core.ram, cap.mapped_space), cap.mapped_address, slot)


def _point_neighbours_at(core: Core, address: int, prev: int, links: int) -> None:
    """Make the neighbours that ``prev`` and ``links`` name point at the slot at ``address``."""
    ram = core.ram
    if prev:
        ram.set_word(prev + MDB_OFFSET, ram.word(prev + MDB_OFFSET) & LOW_BITS | address)
    following = links & ADDRESS_MASK
    if following:
        ram.set_word(following + PREV_OFFSET, address)
