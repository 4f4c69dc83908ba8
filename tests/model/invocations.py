"""Methods of kernel objects in the specification: checks in the order of seL4's MCS API, then the change."""

from __future__ import annotations

from typing import Final

from libsel4py import abi
from libsel4py.abi import Error, Label, LookupFailureKind, ObjectType
from tests.model.addressing import Unresolved, resolve_slot
from tests.model.capability import KIND_OF_TYPE, Capability, Kind, new_capability
from tests.model.deletion import abort, delete, revoke
from tests.model.derivation import Holding, Place
from tests.model.messages import is_copyable
from tests.model.system import System, Thread


class Refused(Exception):
    """An error for the caller."""

    def __init__(self, error: Error, *words: int) -> None:
        super().__init__(error.name, words)
        self.error = error
        self.words = words


def truncated_unless(sent: bool) -> None:
    if not sent:
        raise Refused(Error.TRUNCATED_MESSAGE)


def illegal_if(wrong: bool) -> None:
    if wrong:
        raise Refused(Error.ILLEGAL_OPERATION)


def slot_of(system: System, root: Capability | None, index: int, depth: int, *, source: bool = False) -> Place:
    """The slot that a method addresses by (index, depth)."""
    if root is not None and root.kind is Kind.CNODE and not 1 <= depth <= abi.WORD_BITS:
        raise Refused(Error.RANGE_ERROR, 1, abi.WORD_BITS)
    try:
        return resolve_slot(root, index, depth, system.held)
    except Unresolved as failure:
        raise Refused(Error.FAILED_LOOKUP, int(source), failure.kind, *failure.words) from None


def empty(system: System, place: Place) -> Place:
    if system.held(place) is not None:
        raise Refused(Error.DELETE_FIRST)
    return place


def present(system: System, place: Place, depth: int, *, source: bool) -> Holding:
    holding = system.tree.at(place)
    if holding is None:
        raise Refused(Error.FAILED_LOOKUP, int(source), LookupFailureKind.MISSING_CAPABILITY, depth)
    return holding


def derivable(system: System, holding: Holding, changed: Capability | None) -> Capability:
    """The copy that can be made of a capability, once rights and badge are applied."""
    if changed is not None and not is_copyable(system, holding.place):
        raise Refused(Error.REVOKE_FIRST if changed.kind is Kind.UNTYPED else Error.ILLEGAL_OPERATION)
    if changed is None:
        raise Refused(Error.ILLEGAL_OPERATION)
    return changed


# --- Untyped

_LARGEST: Final = {Kind.FRAME: abi.FRAME_MAX_BITS, Kind.VSPACE: 38, Kind.IO_SPACE: 30}
_SMALLEST: Final = {
    Kind.CNODE: 1,
    Kind.UNTYPED: abi.UNTYPED_MIN_BITS,
    Kind.SCHED_CONTEXT: abi.SCHED_CONTEXT_MIN_BITS,
    Kind.FRAME: abi.FRAME_MIN_BITS,
    Kind.VSPACE: abi.VSPACE_MIN_BITS,
    Kind.IO_SPACE: abi.IO_SPACE_MIN_BITS,
}


def retype(
    system: System, thread: Thread, memory: Holding, words: tuple[int, ...], caps: list[Capability | None]
) -> None:
    truncated_unless(len(words) >= 6 and len(caps) >= 1)
    number, bits, index, depth, offset, count = words[:6]
    if number >= len(ObjectType):
        raise Refused(Error.INVALID_ARGUMENT, 0)
    object_type = ObjectType(number)
    kind = KIND_OF_TYPE[object_type]
    if bits >= abi.WORD_BITS or abi.object_size_bits(object_type, bits) > abi.UNTYPED_MAX_BITS:
        raise Refused(Error.RANGE_ERROR, 0, abi.UNTYPED_MAX_BITS)
    if bits < _SMALLEST.get(kind, 0) or bits > _LARGEST.get(kind, bits):
        raise Refused(Error.INVALID_ARGUMENT, 1)
    node = caps[0] if depth == 0 else system.held(slot_of(system, caps[0], index, depth))
    if node is None or node.kind is not Kind.CNODE:
        raise Refused(Error.FAILED_LOOKUP, 0, LookupFailureKind.MISSING_CAPABILITY, depth)
    slots = 1 << node.bits
    for value, smallest, largest in (
        (offset, 0, slots - 1),
        (count, 1, abi.RETYPE_MAX_OBJECTS),
        (count, 1, slots - offset),
    ):
        if not smallest <= value <= largest:
            raise Refused(Error.RANGE_ERROR, smallest, largest)
    places = [empty(system, Place(node.address, offset + position)) for position in range(count)]
    size = 1 << abi.object_size_bits(object_type, bits)
    room = (1 << memory.capability.bits) - memory.free_from
    if count * size > room // size * size:
        raise Refused(Error.NOT_ENOUGH_MEMORY, room)
    start = -(-memory.free_from // size) * size
    memory.watermark = start + count * size
    for position, place in enumerate(places):
        made = new_capability(object_type, memory.capability.address + start + position * size, bits)
        system.tree.create(memory, place, made)
        system.new_object(made, thread.domain)


# --- CNode


def cnode(system: System, root: Capability, label: int, words: tuple[int, ...], caps: list[Capability | None]) -> None:
    illegal_if(not Label.CNODE_REVOKE <= label <= Label.CNODE_ROTATE)
    truncated_unless(len(words) >= 2)
    place = slot_of(system, root, words[0], words[1])
    match label:
        case Label.CNODE_REVOKE:
            holding = system.tree.at(place)
            if holding is not None:
                revoke(system, holding)
        case Label.CNODE_DELETE:
            delete(system, place)
        case Label.CNODE_CANCEL_BADGED_SENDS:
            _cancel_badged_sends(system, system.held(place))
        case Label.CNODE_ROTATE:
            _rotate(system, place, words, caps)
        case _:
            _insert(system, place, Label(label), words, caps)


def _cancel_badged_sends(system: System, held: Capability | None) -> None:
    if held is None or held.kind is not Kind.ENDPOINT or held.rights != abi.Rights.ALL:
        raise Refused(Error.ILLEGAL_OPERATION)
    endpoint = system.endpoints[held.address]
    if held.badge and endpoint.sending:
        for waiting in list(endpoint.queue):
            sender = system.threads[waiting]
            if sender.way is not None and sender.way.badge == held.badge:
                abort(system, sender)


def _insert(system: System, place: Place, label: Label, words: tuple[int, ...], caps: list[Capability | None]) -> None:
    truncated_unless(len(words) >= 4 and len(caps) >= 1)
    empty(system, place)
    source = present(system, slot_of(system, caps[0], words[2], words[3], source=True), words[3], source=True)
    held = source.capability
    needed = {Label.CNODE_COPY: 5, Label.CNODE_MINT: 6, Label.CNODE_MUTATE: 5}.get(label, 4)
    truncated_unless(len(words) >= needed)
    if label in (Label.CNODE_COPY, Label.CNODE_MINT):
        changed: Capability | None = held.limited_to(words[4])
        if label is Label.CNODE_MINT and changed is not None:
            changed = changed.with_data(words[5], moving=False)
        system.tree.copy(source, place, derivable(system, source, changed))
        return
    moved = held if label is Label.CNODE_MOVE else held.with_data(words[4], moving=True)
    if moved is None:
        raise Refused(Error.ILLEGAL_OPERATION)
    system.tree.move(source, place, moved)


def _rotate(system: System, destination: Place, words: tuple[int, ...], caps: list[Capability | None]) -> None:
    truncated_unless(len(words) >= 8 and len(caps) >= 2)
    pivot_data, pivot_index, pivot_depth, source_data, source_index, source_depth = words[2:8]
    source_place = slot_of(system, caps[1], source_index, source_depth, source=True)
    pivot_place = slot_of(system, caps[0], pivot_index, pivot_depth, source=True)
    illegal_if(pivot_place in (source_place, destination))
    if source_place != destination:
        empty(system, destination)
    source = present(system, source_place, source_depth, source=True)
    pivot = present(system, pivot_place, pivot_depth, source=False)
    new_source = source.capability.with_data(source_data, moving=True)
    new_pivot = pivot.capability.with_data(pivot_data, moving=True)
    if new_source is None or new_pivot is None:
        raise Refused(Error.ILLEGAL_OPERATION)
    if source_place == destination:
        system.tree.exchange(source_place, pivot_place)
        source.capability, pivot.capability = new_source, new_pivot
    else:
        system.tree.move(pivot, destination, new_pivot)
        system.tree.move(source, pivot_place, new_source)
