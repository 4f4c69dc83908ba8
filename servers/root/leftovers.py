"""What an ended process leaves in its task's CNode: callers that wait for its replies, and capabilities of its own.

Rules: no thread of the task runs meanwhile. Callers are answered before anything is deleted, with what their SDK raises
as `ServerDied`: their request had been taken, and may have been carried out. Requests that nobody had taken go on
waiting at the endpoint, for the successor. (The kernel itself would leave a caller stopped for ever whose reply object
is deleted.)
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Final

from libsel4py import abi
from libsel4py.abi import CapType
from libsel4py.capabilities import Reply
from libsel4py.environment import Slot
from libsel4py.errors import FailedLookup
from libsel4py.lowlevel.batch import Batch
from libsel4py.lowlevel.identify import identify
from libsel4py.lowlevel.syscalls import Message
from libsel4py.wire import Outcome
from servers.root.authority import Authority
from servers.root.objects import TaskObjects

STEP: Final = abi.RING_ENTRIES  # slots looked at by one trap


def answer_callers(authority: Authority, objects: TaskObjects) -> list[int]:
    """Tell everybody who waits for a reply of this task that it has died. Returns the slots that are not empty."""
    occupied: list[int] = []
    slots = iter(range(1 << objects.cnode_bits))
    copies = authority.slots.allocate_range(STEP)
    try:
        while step := list(islice(slots, STEP)):
            occupied += _look(authority, objects, step, copies)
    finally:
        authority.slots.free_range(copies)
    return occupied


def clear(objects: TaskObjects, first_free: int, occupied: Sequence[int]) -> None:
    """Delete what the process had made and received: its pool is untouched again, its free slots are empty."""
    if objects.pool:
        objects.cnode.revoke(Slot.POOL, objects.cnode_bits)
    for slot in occupied:
        if slot >= first_free:
            objects.cnode.delete(slot, objects.cnode_bits)


def _look(authority: Authority, objects: TaskObjects, slots: Sequence[int], copies: range) -> list[int]:
    """As `answer_callers`, for a few slots. Root sees what they hold by copies in its own CNode, which go at once."""
    root = authority.cnode
    with Batch(check=False) as batch:
        copying = [
            (slot, copy, batch.queue(root.copy, copy, objects.cnode, slot, src_depth=objects.cnode_bits))
            for slot, copy in zip(slots, copies, strict=False)
        ]
    occupied = []
    for slot, copy, outcome in copying:
        refused = outcome.error()
        if not isinstance(refused, FailedLookup):  # an untyped with children, for one, is there and cannot be copied
            occupied.append(slot)
        if refused is None:
            if identify(copy).type == CapType.REPLY.name:
                Reply(copy).send(Message(Outcome.SERVER_DIED))
            root.delete(copy)
    return occupied
