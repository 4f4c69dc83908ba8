"""CNode: a table of capability slots, and the eight ways to change it (manual 3.1.2; `decodeCNodeInvocation`).

A slot is named by (index, depth) below a CNode capability. Order of checks: label, length, destination look-up,
destination empty, source look-up, source occupied, derivation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from kerneld import caps, cspace, deletion, derive, mdb
from kerneld.caps import Cap
from kerneld.core import PREEMPTED, Call, Core, Invocation, Result
from kerneld.failures import LookupFailure, SyscallError, illegal_operation, range_error, truncated_message
from kerneld.objects import endpoint
from kerneld.records import CapType, Endpoint, Slot
from kerneld.refusals import EmptySlot
from kerneld.work import Work
from libsel4py.abi import WORD_BITS, Error, Label, LookupFailureKind, Rights

_COPYING: Final = (Label.CNODE_COPY, Label.CNODE_MINT, Label.CNODE_MOVE, Label.CNODE_MUTATE)


@dataclass(frozen=True, slots=True)
class Revoke:
    slot: Slot
    thread: int

    def perform(self, core: Core) -> Result:
        return () if deletion.revoke(core, self.slot, Work(self.thread, True)) else PREEMPTED


@dataclass(frozen=True, slots=True)
class Delete:
    slot: Slot
    thread: int

    def perform(self, core: Core) -> Result:
        return () if deletion.delete(core, self.slot, Work(self.thread)) else PREEMPTED


@dataclass(frozen=True, slots=True)
class CancelBadgedSends:
    endpoint: int
    badge: int

    def perform(self, core: Core) -> Result:
        if self.badge and not endpoint.cancel_badged_sends(core, Endpoint(core.ram, self.endpoint), self.badge):
            return PREEMPTED
        return ()


@dataclass(frozen=True, slots=True)
class Insert:
    """Copy and Mint."""

    cap: Cap
    source: Slot
    destination: Slot

    def perform(self, core: Core) -> Result:
        mdb.insert(core, self.cap, self.source, self.destination)
        return ()


@dataclass(frozen=True, slots=True)
class Move:
    """Move and Mutate."""

    cap: Cap
    source: Slot
    destination: Slot

    def perform(self, core: Core) -> Result:
        mdb.move(core, self.cap, self.source, self.destination)
        return ()


@dataclass(frozen=True, slots=True)
class Rotate:
    source_cap: Cap
    source: Slot
    pivot_cap: Cap
    pivot: Slot
    destination: Slot

    def perform(self, core: Core) -> Result:
        if self.source == self.destination:
            mdb.swap(core, self.source_cap, self.source, self.pivot_cap, self.pivot)
        else:
            mdb.move(core, self.pivot_cap, self.pivot, self.destination)
            mdb.move(core, self.source_cap, self.source, self.pivot)
        return ()


def decode(core: Core, call: Call) -> Invocation:
    """The checked method of a CNode capability.

    Raises:
        SyscallError: ILLEGAL_OPERATION, TRUNCATED_MESSAGE, RANGE_ERROR (depth), FAILED_LOOKUP, DELETE_FIRST,
        REVOKE_FIRST.
    """
    label = call.label
    if not Label.CNODE_REVOKE <= label <= Label.CNODE_ROTATE:
        raise illegal_operation(f"a CNode has no method with label {label}")
    words = call.words
    if len(words) < 2:
        raise truncated_message(f"a CNode method takes index and depth first; the message has {len(words)} words")
    slot = lookup_slot(call.slot, words[0], words[1])
    if label in _COPYING:
        return decode_copy(call, slot)
    if label == Label.CNODE_REVOKE:
        return Revoke(slot, call.thread.address)
    if label == Label.CNODE_DELETE:
        return Delete(slot, call.thread.address)
    if label == Label.CNODE_CANCEL_BADGED_SENDS:
        return decode_cancel_badged_sends(slot)
    return decode_rotate(call, slot)


def decode_copy(call: Call, destination: Slot) -> Invocation:
    """Copy, Mint, Move and Mutate."""
    label, words = call.label, call.words
    if len(words) < 4 or not call.caps:
        raise truncated_message("copying takes four words of addresses and the CNode capability of the source")
    ensure_empty(destination)
    source = lookup_slot(call.caps[0], words[2], words[3], source=True)
    held = caps.read(source)
    ensure_present(held, source, words[3], source=True)
    match label:
        case Label.CNODE_COPY:
            ensure_length(words, 5, "Copy", "the rights")
            cap = derive.derive_cap(source, caps.mask_rights(held, words[4] & Rights.ALL))
        case Label.CNODE_MINT:
            ensure_length(words, 6, "Mint", "the rights and a badge or guard")
            limited = caps.mask_rights(held, words[4] & Rights.ALL)
            cap = derive.derive_cap(source, derive.update_cap_data(False, words[5], limited))
        case Label.CNODE_MOVE:
            cap = held
        case _:
            ensure_length(words, 5, "Mutate", "the guard")
            cap = derive.update_cap_data(True, words[4], held)
    if cap.is_null:
        raise illegal_operation(_why_not_derivable(held))
    if label in (Label.CNODE_COPY, Label.CNODE_MINT):
        return Insert(cap, source, destination)
    return Move(cap, source, destination)


def decode_cancel_badged_sends(slot: Slot) -> Invocation:
    """Cancelling others' sends takes an endpoint capability with every right."""
    cap = caps.read(slot)
    if cap.type != CapType.ENDPOINT or cap.rights != Rights.ALL:
        raise illegal_operation("sends are cancelled by an endpoint capability with all four rights, and this is none")
    return CancelBadgedSends(cap.object, cap.badge)


def decode_rotate(call: Call, destination: Slot) -> Invocation:
    words = call.words
    if len(words) < 8 or len(call.caps) < 2:
        raise truncated_message("Rotate takes eight words, and the CNode capabilities of pivot and source")
    _, _, pivot_data, pivot_index, pivot_depth, source_data, source_index, source_depth = words[:8]
    source = lookup_slot(call.caps[1], source_index, source_depth, source=True)
    pivot = lookup_slot(call.caps[0], pivot_index, pivot_depth, source=True)
    if pivot in (source, destination):
        raise illegal_operation("the pivot slot must differ from source and destination")
    if source != destination:
        ensure_empty(destination)
    source_held, pivot_held = caps.read(source), caps.read(pivot)
    ensure_present(source_held, source, source_depth, source=True)
    ensure_present(pivot_held, pivot, pivot_depth, source=False)
    source_cap = derive.update_cap_data(True, source_data, source_held)
    if source_cap.is_null:
        raise illegal_operation(_why_not_derivable(source_held))
    pivot_cap = derive.update_cap_data(True, pivot_data, pivot_held)
    if pivot_cap.is_null:
        raise illegal_operation(_why_not_derivable(pivot_held))
    return Rotate(source_cap, source, pivot_cap, pivot, destination)


def lookup_slot(root: Slot, index: int, depth: int, *, source: bool = False) -> Slot:
    """The slot that an argument pair (index, depth) names below the CNode capability in ``root``.

    Raises:
        SyscallError: FAILED_LOOKUP, with ``source`` as its first word; RANGE_ERROR for a depth outside 1..64.
    """
    if root.word0 >> caps.TYPE_SHIFT != CapType.CNODE:
        failure = LookupFailure(LookupFailureKind.INVALID_ROOT, (), "the root of the look-up is not a CNode capability")
        raise SyscallError.failed_lookup(source, failure)
    if not 1 <= depth <= WORD_BITS:
        raise range_error(1, WORD_BITS, f"depth {depth} is not a number of address bits")
    try:
        return cspace.lookup_target_slot(root, index, depth)
    except LookupFailure as failure:
        raise SyscallError.failed_lookup(source, failure) from None


def ensure_empty(slot: Slot) -> None:
    """Raise DELETE_FIRST if the slot holds a capability."""
    if slot.word0:
        kind = CapType(slot.cap_type).name
        raise SyscallError(Error.DELETE_FIRST, (), f"the destination slot holds a capability ({kind}); delete it first")


def ensure_present(cap: Cap, slot: Slot, depth: int, *, source: bool) -> None:
    """Raise FAILED_LOOKUP if the slot that was looked up is empty."""
    if cap.is_null:
        raise EmptySlot(slot.address, depth, source=source)


def ensure_length(words: tuple[int, ...], length: int, method: str, last: str) -> None:
    """Raise TRUNCATED_MESSAGE if the message is shorter than ``length`` words."""
    if len(words) < length:
        raise truncated_message(f"{method} takes {length} words, the last of them {last}; {len(words)} were sent")


def _why_not_derivable(held: Cap) -> str:
    match held.type:
        case CapType.ENDPOINT | CapType.NOTIFICATION if held.badge:
            return f"the capability has badge {held.badge} already; only an unbadged one can be given a badge"
        case CapType.ENDPOINT | CapType.NOTIFICATION:
            return "a moved capability keeps its badge; mint a copy to give it one"
        case CapType.CNODE:
            return f"guard and {held.radix} index bits together are longer than {WORD_BITS} bits"
        case kind:
            return f"a capability of type {kind.name} cannot be copied; move it"
