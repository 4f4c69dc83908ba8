"""Who is told of a death: the notices of each object, and telling them.

A notice watches an object without keeping it alive. Those that watch one object are a ring, in the order in which they
asked; the first of each ring is in one balanced tree, by what it watches, whose root is in the kernel's record. When
the object or the process ends, its ring leaves the tree and joins the ring of those to be told; each is told once, and
watches nothing afterwards.

The copies of a capability can be watched as well: then the key is the address of its slot, which is marked. The mark is
there while such a notice watches, and so is a copy: the last one to go tells. A capability that leaves its slot ends
that, as an object that is destroyed.

Rules: an end costs O(log n) steps whatever number of notices watch it, and tells TOLD_AT_ONCE of them; the rest are
told in transactions of their own. So nobody makes another's transaction long, and nobody can hold up a deletion by
asking again. A notice holds a capability to its notification: that lives at least as long as the notice, or is revoked.
"""

from __future__ import annotations

from typing import Final

from kerneld import balanced_tree, caps, mdb
from kerneld.balanced_tree import HIGHER, LOWER
from kerneld.caps import TYPE_SHIFT, Cap
from kerneld.core import Core
from kerneld.objects import notification
from kerneld.records import CapType, DeathNotice, Notification, Slot, Tcb, TreeNode
from libsel4py.abi import DeathNoticeState

TOLD_AT_ONCE: Final = 16


def key_of(cap: Cap) -> int:
    """What the capability's object is found by; 0 if it cannot be watched.

    Objects with memory of their own can be, but not untyped memory: each of its capabilities ends by itself.
    """
    identity = mdb.identity(cap)
    return 0 if identity is None or caps.region(cap) is None else identity[0]


def watch(core: Core, notice: DeathNotice, key: int) -> None:
    """Let an idle notice watch what is found by the key, which is alive.

    Where it is a slot's and there are no copies, it is told at once.
    """
    path, node = balanced_tree.descend(core.ram, _root(core), key)
    notice.key = key
    notice.state = DeathNoticeState.WATCHING
    if node:
        first = _of_node(core, node)
        last = first.before
        assert last is not None
        notice.before, notice.behind = last, first
        last.behind = first.before = notice
    else:
        notice.before = notice.behind = notice
        notice.is_first = 1
        _set_root(core, balanced_tree.put_in(core.ram, path, notice.node))
    if is_place(key):
        slot = core.slot(key)
        slot.watched = 1
        if not mdb.has_children(slot):
            _end_place(core, slot, DeathNoticeState.NO_COPIES)


def is_place(key: int) -> bool:
    """Whether a key is the address of a slot: that of an object names its type."""
    return not key >> TYPE_SHIFT


def leave(core: Core, notice: DeathNotice) -> None:
    """Let a notice watch nothing any more, if it does; it will not be told."""
    if not notice.key:
        return
    before, behind = notice.before, notice.behind
    assert before is not None
    assert behind is not None
    heir = None if behind == notice else behind
    if notice.is_telling:
        _leave_telling(core, notice, heir)
    elif notice.is_first:
        _leave_tree(core, notice, heir)
        if heir is None and is_place(notice.key):
            core.slot(notice.key).watched = 0
    if heir is not None:
        before.behind, behind.before = behind, before
    notice.before = notice.behind = None
    notice.key = 0
    notice.state = DeathNoticeState.IDLE


def object_destroyed(core: Core, cap: Cap) -> int:
    """The last capability to an object is gone. Returns how many were told now."""
    if core.kernel.watched is None:
        return 0
    return _end(core, key_of(cap), DeathNoticeState.DESTROYED, 0)


def last_copy_deleted(core: Core, slot: Slot) -> int:
    """What was derived from this slot's capability is less by one. Returns how many were told now."""
    if not slot.watched or mdb.has_children(slot):
        return 0
    return _end_place(core, slot, DeathNoticeState.NO_COPIES)


def place_left(core: Core, slot: Slot) -> int:
    """The capability is about to leave this slot. Returns how many were told now."""
    return _end_place(core, slot, DeathNoticeState.DESTROYED) if slot.watched else 0


def process_ended(core: Core, tcb: Tcb, status: int) -> int:
    """A thread has lost its process, with this wait status. Returns how many were told now."""
    if core.kernel.watched is None:
        return 0
    return _end(core, key_of(caps.tcb(tcb.address)), DeathNoticeState.PROCESS_ENDED, status)


def finalise(core: Core, notice: DeathNotice) -> None:
    """The last capability to the notice is gone. One that watches itself tells of that."""
    itself = notice.key == key_of(caps.death_notice(notice.address))
    leave(core, notice)
    if itself:
        _signal(core, notice)


def tell_some(core: Core) -> int:
    """Tell some of those that are to be told. Returns how many."""
    for told in range(TOLD_AT_ONCE):
        first = core.kernel.telling
        if first is None:
            return told
        state, status = first.reason, first.status
        leave(core, first)
        first.state = state
        first.status = status
        _signal(core, first)
    return TOLD_AT_ONCE


def _signal(core: Core, notice: DeathNotice) -> None:
    slot = notice.slot
    if slot.cap_type == CapType.NOTIFICATION:  # unless it has been revoked
        notification.send_signal(core, Notification(core.ram, slot.object), slot.word1)


def _end_place(core: Core, slot: Slot, state: DeathNoticeState) -> int:
    slot.watched = 0
    return _end(core, slot.address, state, 0)


def _end(core: Core, key: int, state: DeathNoticeState, status: int) -> int:
    path, node = balanced_tree.descend(core.ram, _root(core), key)
    if not node:
        return 0
    first = _of_node(core, node)
    _set_root(core, balanced_tree.take_out(core.ram, path, node))
    _clear_links(core, node)
    first.reason = state
    first.status = status
    first.is_telling = 1
    head = core.kernel.telling
    if head is None:
        core.kernel.telling = first.telling_before = first.telling_behind = first
    else:
        last = head.telling_before
        assert last is not None
        first.telling_before, first.telling_behind = last, head
        last.telling_behind = head.telling_before = first
    return tell_some(core)


def _leave_tree(core: Core, first: DeathNotice, heir: DeathNotice | None) -> None:
    path, _ = balanced_tree.descend(core.ram, _root(core), first.key)
    if heir is None:
        _set_root(core, balanced_tree.take_out(core.ram, path, first.node))
    else:
        heir.is_first = 1
        _set_root(core, balanced_tree.replace(core.ram, path, first.node, heir.node))
    _clear_links(core, first.node)
    first.first_word = 0


def _leave_telling(core: Core, first: DeathNotice, heir: DeathNotice | None) -> None:
    """Take the first of a ring that is being told out; the next of that ring takes its place."""
    before, behind = first.telling_before, first.telling_behind
    assert before is not None
    assert behind is not None
    alone = behind == first
    if heir is not None:
        heir.first_word = first.first_word
        heir.status = first.status
        if alone:
            before = behind = heir
        heir.telling_before, heir.telling_behind = before, behind
        before.telling_behind = behind.telling_before = heir
        follower: DeathNotice | None = heir
    else:
        before.telling_behind, behind.telling_before = behind, before
        follower = None if alone else behind
    if core.kernel.telling == first:
        core.kernel.telling = follower
    first.telling_before = first.telling_behind = None
    first.first_word = 0


def _root(core: Core) -> int:
    root = core.kernel.watched
    return root.address if root is not None else 0


def _set_root(core: Core, top: int | None) -> None:
    if top is not None:
        core.kernel.watched = TreeNode(core.ram, top) if top else None


def _of_node(core: Core, node: int) -> DeathNotice:
    return DeathNotice(core.ram, node - DeathNotice.NODE)


def _clear_links(core: Core, node: int) -> None:
    core.ram.set_word(node + LOWER, 0)
    core.ram.set_word(node + HIGHER, 0)
