"""CNode: a table of capability slots, and the eight ways to change it (manual 3.1.2; `decodeCNodeInvocation`).

A slot is named by (index, depth) below a CNode capability. Order of checks: label, length, destination look-up,
destination empty, source look-up, source occupied, derivation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from kerneld import caps, death_notices, deletion, derive, mdb, slot_arguments
from kerneld.caps import Cap
from kerneld.core import PREEMPTED, Call, Core, Invocation, Result
from kerneld.failures import illegal_operation, truncated_message
from kerneld.objects import endpoint
from kerneld.records import CapType, Endpoint, Slot
from kerneld.work import Work
from libsel4py.abi import WORD_BITS, Label, Rights

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
        death_notices.place_left(core, self.source)
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
    slot = slot_arguments.lookup_slot(call.slot, words[0], words[1])
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
    slot_arguments.ensure_empty(destination)
    source = slot_arguments.lookup_slot(call.caps[0], words[2], words[3], source=True)
    held = caps.read(source)
    slot_arguments.ensure_present(held, source, words[3], source=True)
    match label:
        case Label.CNODE_COPY:
            slot_arguments.ensure_length(words, 5, "Copy", "the rights")
            cap = derive.derive_cap(source, caps.mask_rights(held, words[4] & Rights.ALL))
        case Label.CNODE_MINT:
            slot_arguments.ensure_length(words, 6, "Mint", "the rights and a badge or guard")
            limited = caps.mask_rights(held, words[4] & Rights.ALL)
            cap = derive.derive_cap(source, derive.update_cap_data(False, words[5], limited))
        case Label.CNODE_MOVE:
            cap = held
        case _:
            slot_arguments.ensure_length(words, 5, "Mutate", "the guard")
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
    source = slot_arguments.lookup_slot(call.caps[1], source_index, source_depth, source=True)
    pivot = slot_arguments.lookup_slot(call.caps[0], pivot_index, pivot_depth, source=True)
    if pivot in (source, destination):
        raise illegal_operation("the pivot slot must differ from source and destination")
    if source != destination:
        slot_arguments.ensure_empty(destination)
    source_held, pivot_held = caps.read(source), caps.read(pivot)
    slot_arguments.ensure_present(source_held, source, source_depth, source=True)
    slot_arguments.ensure_present(pivot_held, pivot, pivot_depth, source=False)
    source_cap = derive.update_cap_data(True, source_data, source_held)
    if source_cap.is_null:
        raise illegal_operation(_why_not_derivable(source_held))
    pivot_cap = derive.update_cap_data(True, pivot_data, pivot_held)
    if pivot_cap.is_null:
        raise illegal_operation(_why_not_derivable(pivot_held))
    return Rotate(source_cap, source, pivot_cap, pivot, destination)


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
