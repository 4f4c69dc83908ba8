"""What an ended process leaves in its task's CNode: callers that wait for its replies, and capabilities of its own.

Rules: no thread of the task runs meanwhile. Callers are answered before anything is deleted, with what their SDK raises
as `ServerDied`: their request had been taken, and may have been carried out. Requests that nobody had taken go on
waiting at the endpoint, for the successor. (The kernel itself would leave a caller stopped for ever whose reply object
is deleted.)
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress
from typing import Final

from libsel4py import abi
from libsel4py.abi import CapType
from libsel4py.environment import Slot
from libsel4py.lowlevel.batch import Batch
from libsel4py.lowlevel.identify import slot_types
from libsel4py.lowlevel.syscalls import Message
from libsel4py.wire import Outcome
from servers.root.authority import Authority
from servers.root.objects import TaskObjects

STEP: Final = abi.RING_ENTRIES // 4  # reply objects whose callers are answered by one trap
FEW: Final = 8  # slots that are emptied without looking which of them the pool's end has emptied


def answer_callers(authority: Authority, objects: TaskObjects) -> list[int]:
    """Tell everybody who waits for a reply of this task that it has died. Returns the slots that are not empty."""
    occupied, replies = _occupied(objects)
    for first in range(0, len(replies), STEP):
        _answer(authority, objects, replies[first : first + STEP])
    return occupied


def queue_clearing(batch: Batch, objects: TaskObjects, first_free: int, occupied: Sequence[int]) -> None:
    """Queue that what the process had made and received is deleted: its pool is untouched again, its free slots are
    empty."""
    if objects.pool and Slot.POOL in occupied:
        batch.queue(objects.cnode.revoke, Slot.POOL, objects.cnode_bits)
        if len(occupied) > first_free + FEW:  # most were made of it: those are empty then
            batch.submit()
            occupied, _ = _occupied(objects)
    for slot in occupied:
        if slot >= first_free:
            batch.queue(objects.cnode.delete, slot, objects.cnode_bits)


def _occupied(objects: TaskObjects) -> tuple[list[int], list[int]]:
    """The slots of the task's CNode that are not empty, and those of them that have a reply object."""
    types = slot_types(objects.cnode.cptr, 1 << objects.cnode_bits)
    occupied = list(compress(range(len(types)), types))
    return occupied, [slot for slot in occupied if types[slot] == CapType.REPLY]


def _answer(authority: Authority, objects: TaskObjects, slots: Sequence[int]) -> None:
    """Answer the callers of some reply objects, by copies in root's own CNode, which go at once.

    One trap: a copy that could not be made is no reply object, and what is sent there and deleted there is nothing.
    """
    root = authority.cnode
    copies = authority.slots.allocate_range(len(slots))
    try:
        with Batch(check=False) as batch:
            for slot, copy in zip(slots, copies, strict=True):
                batch.queue(root.copy, copy, objects.cnode, slot, src_depth=objects.cnode_bits)
                batch.queue_send(copy, Message(Outcome.SERVER_DIED))
                batch.queue(root.delete, copy)
    finally:
        authority.slots.free_range(copies)
