"""A look at all of RAM: every capability that can be found, by slot, and every object that one of them names.

Read only, and outside of any transaction that matters: for `invariants`, `explain`, `sel4py inspect` and `fsck`.
Nothing is trusted: RAM may be a damaged image. What cannot be followed is noted in `damage` and not followed.

Found are the slots that are reached from the kernel's record and the initial task through capabilities, through
neighbours in the derivation order, and through the threads that objects name. Where the initial task's TCB has been
deleted, RAM says no more where to begin, and the survey is not complete.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final, NamedTuple, TypeAlias

from hw.ram import Ram, Ref
from kerneld import caps
from kerneld.caps import OBJECT_MASK, TYPE_SHIFT, Cap
from kerneld.records import (
    ADDRESS_MASK,
    TCB_SLOTS,
    CapType,
    Channel,
    DeathNotice,
    Endpoint,
    KernelRecord,
    Notification,
    Reply,
    SchedContext,
    Slot,
    Tcb,
    VSpace,
)
from libsel4py import abi

# Where an object's record names threads.
THREAD_WORDS: Final[dict[int, tuple[Ref[Tcb], ...]]] = {
    CapType.ENDPOINT: (Endpoint.head, Endpoint.listeners),
    CapType.NOTIFICATION: (Notification.head, Notification.bound_tcb, Notification.listeners),
    CapType.REPLY: (Reply.tcb,),
    CapType.SCHED_CONTEXT: (SchedContext.tcb,),
    CapType.VSPACE: (VSpace.threads,),
    CapType.TCB: (Tcb.queue_next, Tcb.vspace_next, Tcb.listen_next),
    CapType.CHANNEL: (Channel.client,),
}
_SLOT_WORDS: Final = Slot.SIZE // abi.WORD_BYTES
READ_AT_ONCE: Final = 64  # slots
EMPTY: Final = bytes(READ_AT_ONCE * Slot.SIZE)


class Held(NamedTuple):
    """A non-empty slot: its address and its four words."""

    address: int
    word0: int
    word1: int
    prev: int
    mdb_word: int

    @property
    def next(self) -> int:
        return self.mdb_word & ADDRESS_MASK

    @property
    def cap(self) -> Cap:
        return Cap(self.word0, self.word1)

    @property
    def kind(self) -> int:
        return self.word0 >> TYPE_SHIFT


Region: TypeAlias = tuple[Held | None, Held, tuple[int, int]]
"""The untyped memory that it was made from, the slot of a capability with memory, and which that is."""


@dataclass(slots=True)
class Survey:
    """What was found.

    Attributes:
        slots: non-empty slots by address. owners: for each, the CNode, TCB, channel or notice that it is in (0: the
            kernel).
        objects: per capability type, a capability for every object address.
        stray: addresses of empty slots that are linked in the order. damage: what could not be followed.
        held: names of invariants that are known to hold (fast_survey.py).
        regions: all that has memory, in derivation order; found by the first invariant that asks.
    """

    ram: Ram
    slots: dict[int, Held] = field(default_factory=dict)
    owners: dict[int, int] = field(default_factory=dict)
    objects: dict[int, dict[int, Cap]] = field(default_factory=dict)
    stray: list[int] = field(default_factory=list)
    damage: list[str] = field(default_factory=list)
    held: frozenset[str] = frozenset()
    regions: list[Region] | None = None
    _by_kind: dict[int, list[Held]] | None = None
    _pending: list[tuple[int, int, int]] = field(default_factory=list)
    _seen: set[tuple[int, int, int]] = field(default_factory=set)

    def of_type(self, kind: CapType) -> dict[int, Cap]:
        """Objects of a type that are alive: a capability names them. Address to capability."""
        return self.objects.get(kind, {})

    def holding(self, kind: CapType) -> list[Held]:
        """The slots that hold a capability of a type, in the order in which they were found."""
        if self._by_kind is None:
            self._by_kind = {}
            for held in self.slots.values():
                self._by_kind.setdefault(held.word0 >> TYPE_SHIFT, []).append(held)
        return self._by_kind.get(kind, [])

    @property
    def is_complete(self) -> bool:
        """Whether the initial task is there to begin at."""
        return KernelRecord.of(self.ram).initial_tcb is not None

    def heads(self) -> list[Held]:
        """Slots that begin a list of the derivation order."""
        return [held for held in self.slots.values() if not held.prev]

    def _walk(self) -> None:
        while self._pending:
            address, count, owner = self._pending.pop()
            self._read_slots(address, count, owner)

    def _add(self, address: int, count: int, owner: int) -> None:
        """Note slots to be read: ``count`` from ``address`` on."""
        if (address, count, owner) in self._seen or (count == 1 and not owner and address in self.slots):
            return
        if address % Slot.SIZE or address + count * Slot.SIZE > self.ram.size:
            self.damage.append(f"0x{address:x} cannot be the address of {count} slots")
            return
        self._seen.add((address, count, owner))
        self._pending.append((address, count, owner))

    def _add_thread(self, address: int) -> None:
        if address:
            self._add(address, TCB_SLOTS, address)

    def _read_slots(self, address: int, count: int, owner: int) -> None:
        for first in range(0, count, READ_AT_ONCE):
            data = self.ram.read(address + first * Slot.SIZE, min(READ_AT_ONCE, count - first) * Slot.SIZE)
            if data != EMPTY[: len(data)]:  # as most of a large CNode is
                self._read_some(data, address + first * Slot.SIZE, owner)

    def _read_some(self, data: bytes, address: int, owner: int) -> None:
        words = memoryview(data).cast("Q")
        columns = [words[part::_SLOT_WORDS].tolist() for part in range(_SLOT_WORDS)]
        for number, (word0, word1, prev, mdb_word) in enumerate(zip(*columns, strict=True)):
            at = address + number * Slot.SIZE
            if not word0:
                if word1 or prev or mdb_word:
                    self.stray.append(at)
                continue
            if at not in self.slots:
                self.slots[at] = held = Held(at, word0, word1, prev, mdb_word)
                self.owners[at] = owner
                self._follow(held)
            elif owner and not self.owners[at]:
                self.owners[at] = owner

    def _follow(self, held: Held) -> None:
        kind, cap = held.kind, held.cap
        address = held.word0 & OBJECT_MASK
        self.objects.setdefault(kind, {}).setdefault(address, cap)
        if held.prev:
            self._add(held.prev, 1, 0)
        if held.next:
            self._add(held.next, 1, 0)
        if kind == CapType.CNODE:
            self._add(address, 1 << min(cap.radix, 40), address)
        elif kind == CapType.ZOMBIE:
            self._add(address, min(cap.word1, 1 << 40), address)
        elif kind == CapType.TCB:
            self._add_thread(address)
        elif kind == CapType.CHANNEL:
            self._add(address, Channel.SLOTS, address)
        elif kind == CapType.DEATH_NOTICE:
            self._add(address, DeathNotice.SLOTS, address)
        fields = THREAD_WORDS.get(kind)
        if fields:
            self._follow_threads(address, fields)

    def _follow_threads(self, address: int, fields: tuple[Ref[Tcb], ...]) -> None:
        for each in fields:
            at = address + each.offset
            if at % abi.WORD_BYTES or at + abi.WORD_BYTES > self.ram.size:
                self.damage.append(f"an object's record at 0x{address:x} is outside of RAM")
                return
            self._add_thread(self.ram.word(at) & each.mask & ADDRESS_MASK)


def starts(ram: Ram) -> list[tuple[int, int, int]]:
    """Where it begins: the address of slots, how many there are, and whose they are."""
    kernel = KernelRecord.of(ram)
    threads = [thread.address for thread in (kernel.initial_tcb, kernel.restart_head) if thread is not None]
    return [(kernel.irq_slot(0).address, abi.IRQS, 0), *((thread, TCB_SLOTS, thread) for thread in threads)]


def survey(ram: Ram) -> Survey:
    """Find every slot and object."""
    found = Survey(ram)
    for address, count, owner in starts(ram):
        found._add(address, count, owner)
    found._walk()
    return found


def digest(found: Survey) -> str:
    """A name for the capability graph: every slot, what it holds, and its place in the derivation order."""
    words = array("Q")
    for address in sorted(found.slots):
        words.extend(found.slots[address])
    return blake2b(words, digest_size=16).hexdigest()


def holders(found: Survey, cap: Cap) -> list[Held]:
    """The slots that hold a capability to the same object, in no order."""
    region = caps.region(cap)
    kind = cap.word0 >> TYPE_SHIFT
    return [
        held
        for held in found.slots.values()
        if held.kind == kind
        and held.word0 & OBJECT_MASK == cap.object
        and (region is not None or held.word1 == cap.word1)
    ]
