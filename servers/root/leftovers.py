"""What an ended process leaves in its task's CNode: callers that wait for its replies, and capabilities of its own.

Rules: no thread of the task runs meanwhile. Callers are answered before anything is deleted, by the same batch, with
what their SDK raises as `ServerDied`: their request had been taken, and may have been carried out. Requests that nobody
had taken go on waiting at the endpoint, for the successor. (The kernel itself would leave a caller stopped for ever
whose reply object is deleted.) A thread whose memory fault the task had taken tries its instruction again: it faults
anew, and so it is told to whoever answers its faults by then.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Final

from libsel4py.abi import CapType
from libsel4py.environment import Slot
from libsel4py.lowlevel import identify
from libsel4py.lowlevel.batch import Batch
from libsel4py.lowlevel.syscalls import Message
from libsel4py.wire import Outcome
from servers.root.authority import Authority
from servers.root.objects import TaskObjects

DIED: Final = Message(Outcome.SERVER_DIED)
TRY_AGAIN: Final = Message(0)  # the answer to a VM fault
FEW: Final = 8  # slots that are emptied without looking which of them the pool's end has emptied


def occupied_slots(objects: TaskObjects) -> tuple[list[int], list[int]]:
    """The slots of the task's CNode that are not empty, and those of them that have a reply object."""
    types = identify.occupied_slots(objects.cnode.cptr, 1 << objects.cnode_bits)
    return list(types), [slot for slot, kind in types.items() if kind == CapType.REPLY]


def owing_memory(authority: Authority, objects: TaskObjects, replies: Sequence[int]) -> list[int]:
    """Those of the task's reply objects at which a thread waits that has faulted at memory that was not there."""
    root, copy = authority.cnode, authority.slots.allocate()
    found = []
    for slot in replies:
        with Batch() as batch:
            batch.queue_try(root.copy, copy, objects.cnode, slot, src_depth=objects.cnode_bits)
        if identify.identify(copy).owes_memory:
            found.append(slot)
        root.delete(copy)
    authority.slots.free(copy)
    return found


def queue_answers(
    batch: Batch, authority: Authority, objects: TaskObjects, replies: Sequence[int], faulted: Container[int] = ()
) -> None:
    """Queue that everybody who waits for a reply of this task is told that it has died, and that who waits at one of
    ``faulted`` (`owing_memory`) tries its instruction again.

    ``replies``: reply objects, of `occupied_slots`. Each is answered by a copy in root's own CNode, all in one slot,
    which is empty again when the batch has run: a copy that could not be made is no reply object, and what is sent
    there and deleted there is nothing.
    """
    root, copy = authority.cnode, authority.slots.allocate()
    for slot in replies:
        batch.queue_try(root.copy, copy, objects.cnode, slot, src_depth=objects.cnode_bits)
        batch.queue_send(copy, TRY_AGAIN if slot in faulted else DIED)
        batch.queue_try(root.delete, copy)
    authority.slots.free(copy)


def queue_clearing(batch: Batch, objects: TaskObjects, first_free: int, occupied: Sequence[int]) -> None:
    """Queue that what the process had made and received is deleted: its pool is untouched again, its free slots are
    empty."""
    if objects.pool and Slot.POOL in occupied:
        batch.queue(objects.cnode.revoke, Slot.POOL, objects.cnode_bits)
        if len(occupied) > first_free + FEW:  # most were made of it: those are empty then
            batch.submit()
            occupied, _ = occupied_slots(objects)
    for slot in occupied:
        if slot >= first_free:
            batch.queue(objects.cnode.delete, slot, objects.cnode_bits)
