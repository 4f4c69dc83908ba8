"""What an ended process leaves in its task's CNode: callers that wait for its replies, and capabilities of its own.

Rules: no thread of the task runs meanwhile. Callers are answered before anything is deleted, with what their SDK raises
as `ServerDied`: their request had been taken, and may have been carried out. Requests that nobody had taken go on
waiting at the endpoint, for the successor. (The kernel itself would leave a caller stopped for ever whose reply object
is deleted.)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from libsel4py import abi
from libsel4py.abi import CapType
from libsel4py.capabilities import Reply
from libsel4py.environment import Slot
from libsel4py.lowlevel.batch import Batch
from libsel4py.lowlevel.identify import slot_types
from libsel4py.lowlevel.syscalls import Message
from libsel4py.wire import Outcome
from servers.root.authority import Authority
from servers.root.objects import TaskObjects

STEP: Final = abi.RING_ENTRIES  # reply objects looked at by one trap


def answer_callers(authority: Authority, objects: TaskObjects) -> list[int]:
    """Tell everybody who waits for a reply of this task that it has died. Returns the slots that are not empty."""
    types = slot_types(objects.cnode.cptr, 1 << objects.cnode_bits)
    replies = [slot for slot, kind in enumerate(types) if kind == CapType.REPLY]
    for first in range(0, len(replies), STEP):
        _answer(authority, objects, replies[first : first + STEP])
    return [slot for slot, kind in enumerate(types) if kind]


def clear(objects: TaskObjects, first_free: int, occupied: Sequence[int]) -> None:
    """Delete what the process had made and received: its pool is untouched again, its free slots are empty."""
    with Batch() as batch:
        if objects.pool and Slot.POOL in occupied:
            batch.queue(objects.cnode.revoke, Slot.POOL, objects.cnode_bits)
        for slot in occupied:
            if slot >= first_free:
                batch.queue(objects.cnode.delete, slot, objects.cnode_bits)


def _answer(authority: Authority, objects: TaskObjects, slots: Sequence[int]) -> None:
    """Answer the callers of some reply objects, by copies in root's own CNode, which go at once."""
    root = authority.cnode
    copies = authority.slots.allocate_range(len(slots))
    try:
        with Batch(check=False) as batch:
            copying = [
                (copy, batch.queue(root.copy, copy, objects.cnode, slot, src_depth=objects.cnode_bits))
                for slot, copy in zip(slots, copies, strict=True)
            ]
        for copy, outcome in copying:
            if outcome.error() is None:
                Reply(copy).send(Message(Outcome.SERVER_DIED))
                root.delete(copy)
    finally:
        authority.slots.free_range(copies)
