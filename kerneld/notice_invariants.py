"""What is true of death notices between any two transactions.

Predicates as in `invariants.py`, which runs them. RAM may be a damaged image: links are followed once, and only to
notices that are alive.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from kerneld import death_notices, mdb
from kerneld.predicates import Finding, Registry
from kerneld.records import CapType, DeathNotice, KernelRecord, Slot, TreeNode
from kerneld.survey import Survey
from libsel4py.abi import DeathNoticeState

PREDICATES = Registry()
predicate = PREDICATES.predicate
WATCHABLE: Final = tuple(kind for kind in CapType if kind not in (CapType.NULL, CapType.UNTYPED, CapType.ZOMBIE))


def _notices(found: Survey) -> Iterator[DeathNotice]:
    for address in found.of_type(CapType.DEATH_NOTICE):
        yield DeathNotice(found.ram, address)


def _ring(
    found: Survey, first: DeathNotice | None, following: Callable[[DeathNotice], DeathNotice | None]
) -> list[DeathNotice]:
    """The notices of a ring from one on, each once; the last leads back to the first if the ring is sound."""
    alive = found.of_type(CapType.DEATH_NOTICE)
    listed: dict[int, DeathNotice] = {}
    while first is not None and first.address in alive and first.address not in listed:
        listed[first.address] = first
        first = following(first)
    return list(listed.values())


def _telling(found: Survey) -> list[DeathNotice]:
    return _ring(found, KernelRecord.of(found.ram).telling, lambda notice: notice.telling_behind)


def _being_told(found: Survey) -> set[int]:
    """All notices whose object has ended."""
    return {notice.address for first in _telling(found) for notice in _ring(found, first, lambda each: each.behind)}


def _in_tree(found: Survey) -> list[tuple[TreeNode, int, int]]:
    """The nodes that the tree leads to, each once, with the keys between which theirs must be."""
    nodes: dict[int, tuple[TreeNode, int, int]] = {}
    pending = [(KernelRecord.of(found.ram).watched, -1, 1 << 64)]
    alive = found.of_type(CapType.DEATH_NOTICE)
    while pending:
        node, low, high = pending.pop()
        if node is not None and node.address - DeathNotice.NODE in alive and node.address not in nodes:
            nodes[node.address] = (node, low, high)
            pending += [(node.lower, low, node.key), (node.higher, node.key, high)]
    return list(nodes.values())


@predicate("notice-ring", "Notices that watch one object are a ring with one first; the others watch nothing.")
def _rings(found: Survey) -> Finding:
    seen: set[int] = set()  # each ring is walked once
    for notice in _notices(found):
        before, behind = notice.before, notice.behind
        if not notice.key:
            if before or behind or notice.first_word or notice.state == DeathNoticeState.WATCHING:
                yield f"the death notice 0x{notice.address:x} watches nothing, and is linked"
            continue
        if before is None or behind is None or before.behind != notice or behind.before != notice:
            yield f"the neighbours of the death notice 0x{notice.address:x} do not name it as theirs"
        elif notice.address not in seen:
            ring = _ring(found, notice, lambda each: each.behind)
            seen.update(each.address for each in ring)
            if len({each.key for each in ring}) != 1 or sum(each.is_first for each in ring) != 1:
                yield f"the ring of the death notice 0x{notice.address:x} has not one object and one first"
        if notice.state != DeathNoticeState.WATCHING:
            yield f"the death notice 0x{notice.address:x} watches, and is in state {notice.state}"


@predicate("notice-found", "What ends finds its notices: the tree holds the first of each ring by what that watches.")
def _found_by_key(found: Survey) -> Finding:
    if not found.is_complete:
        return
    nodes = _in_tree(found)
    reached = {node.address - DeathNotice.NODE for node, _, _ in nodes}
    expected = {each.address for each in _notices(found) if each.is_first and not each.is_telling}
    for address in reached ^ expected:
        yield f"the death notice 0x{address:x} is {'' if address in reached else 'not '}in the tree"
    for node, low, high in nodes:
        if not low < node.key < high:
            yield f"the node 0x{node.address:x} is out of order"
        heights = [below.height if below is not None else 0 for below in (node.lower, node.higher)]
        if node.height != 1 + max(heights) or abs(heights[0] - heights[1]) > 1:
            yield f"the node 0x{node.address:x} of height {node.height} is above heights {heights}"


@predicate("notice-target", "What a notice watches is alive, unless its ring is being told; of copies there are some.")
def _targets(found: Survey) -> Finding:
    if not found.is_complete:
        return
    alive = {death_notices.key_of(held.cap) for held in found.slots.values() if held.kind in WATCHABLE}
    marked = {held.address for held in found.slots.values() if held.mdb_word & mdb.WATCHED}
    alive |= marked
    told = _being_told(found)
    for notice in _notices(found):
        if notice.key and notice.address not in told and notice.key not in alive:
            yield f"the death notice 0x{notice.address:x} watches 0x{notice.key:x}, which is no object"
    for address in marked - {notice.key for notice in _notices(found) if notice.address not in told}:
        yield f"the copies of the capability at 0x{address:x} are watched by nobody, and it is marked"
    for address in marked:
        if found.slots[address].kind != CapType.ENDPOINT or not mdb.has_children(Slot(found.ram, address)):
            yield f"the copies of the capability at 0x{address:x} are watched, and there are none"


@predicate("notice-telling", "Notices that are to be told are the rings whose firsts are in the kernel's ring.")
def _telling_ring(found: Survey) -> Finding:
    if not found.is_complete:
        return
    listed = _telling(found)
    expected = {each.address for each in _notices(found) if each.is_telling}
    if {each.address for each in listed} != expected:
        yield f"{len(listed)} rings are in the kernel's ring, {len(expected)} say that they are"
    for first in listed:
        before, behind = first.telling_before, first.telling_behind
        if before is None or behind is None or before.telling_behind != first or behind.telling_before != first:
            yield f"the neighbours of 0x{first.address:x} in the kernel's ring do not name it as theirs"
        if first.reason not in (
            DeathNoticeState.DESTROYED,
            DeathNoticeState.PROCESS_ENDED,
            DeathNoticeState.NO_COPIES,
        ):
            yield f"the death notice 0x{first.address:x} is told of {first.reason}, which is no end"


@predicate("notice-signals", "A notice signals a notification, or nothing.")
def _signals(found: Survey) -> Finding:
    for notice in _notices(found):
        kind = notice.slot.cap_type
        if kind not in (CapType.NULL, CapType.NOTIFICATION):
            yield f"the death notice 0x{notice.address:x} signals a capability of type {kind}"
