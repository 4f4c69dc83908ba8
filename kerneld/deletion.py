"""The end of capabilities and, with the last one, of objects (seL4: `cteDelete`, `finaliseSlot`, `reduceZombie`).

A CNode, TCB, Channel or DeathNotice holds capabilities itself, so its last capability becomes a zombie: it names the
slots that are still to be emptied, and shrinks by one slot a time. All progress is in RAM, so that work can stop after
any unit and the system call simply be carried out again.

Two kinds of deletion: *exposed*, of a slot that the user can name, which ends with the slot empty; and of a slot
inside a zombie, which must not follow chains of CNodes for ever: there a CNode's zombie is swapped into the CNode
itself, where it waits until the untyped memory is revoked.

Rules: at least one unit of work is done in a transaction, at most WORK_UNITS; what the end of an object means to
others is its own file's matter (`finalise` in `objects/`).
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from kerneld import _fastpath, caps, channels, death_notices, interrupts, listening, mappings, mdb, threads
from kerneld.caps import NULL, OBJECT_MASK, TYPE_SHIFT, Cap, ZombieOf
from kerneld.core import Core, Deletion
from kerneld.failures import KernelBug
from kerneld.objects import endpoint, io_space, ioport, notification, reply, sched_context
from kerneld.outbox import Tell
from kerneld.records import (
    TCB_SLOTS,
    CapType,
    Channel,
    DeathNotice,
    Endpoint,
    IoSpace,
    Notification,
    Reply,
    SchedContext,
    Slot,
    Tcb,
)
from kerneld.work import WORK_UNITS, Work

__all__ = ["Work", "delete", "finalise_cap", "revoke"]

SKIP_SLOTS: Final = 128  # empty slots that one unit of work passes over: a page, which the host may have to find first
_EMPTY_SLOTS: Final = bytes(SKIP_SLOTS * Slot.SIZE)


class _Outcome(Enum):
    REMOVABLE = 1  # nothing hangs on the slot's capability any more
    CYCLIC = 2  # the slot keeps a zombie of the CNode that it is in
    PREEMPTED = 3


def revoke(core: Core, slot: Slot, work: Work) -> bool:
    """Delete all capabilities derived from the slot's. False if work is left: call again in another transaction."""
    mappings.takes_memory(core, work.thread)
    while True:
        if core.fast_layout is not None and slot.cap_type == CapType.ENDPOINT:
            copies = _fastpath.delete_copies(core.ram, core.fast_layout, slot.address, work.thread, work.left)
            if copies and not work.spend(copies):
                return False
        child = slot.next
        if child is None or not mdb.is_mdb_parent_of(slot, child):
            return True
        if not delete(core, child, work) or not work.spend():
            return False


def delete(core: Core, slot: Slot, work: Work) -> bool:
    """Delete the slot's capability. False if work is left: call again in another transaction."""
    mappings.takes_memory(core, work.thread)
    if _finalise_slot(core, slot, work, exposed=True) is _Outcome.PREEMPTED:
        return False
    _empty(core, slot, work)
    return True


def _empty(core: Core, slot: Slot, work: Work) -> None:
    if not slot.word0:
        return
    work.spend(death_notices.place_left(core, slot))
    before = slot.prev
    mdb.empty(core, slot)
    if before is not None:
        work.spend(death_notices.last_copy_deleted(core, before))


def _delete_inside(core: Core, slot: Slot, work: Work) -> bool:
    """Delete the capability of a slot inside a zombie; the slot may keep a cyclic zombie."""
    outcome = _finalise_slot(core, slot, work, exposed=False)
    if outcome is _Outcome.REMOVABLE:
        _empty(core, slot, work)
    return outcome is not _Outcome.PREEMPTED


def _finalise_slot(core: Core, slot: Slot, work: Work, *, exposed: bool) -> _Outcome:
    while True:
        cap = Cap(slot.word0, slot.word1)
        if not cap.word0:
            return _Outcome.REMOVABLE
        if caps.is_bound(cap):
            if not _release_bound(core, slot, work):
                return _Outcome.PREEMPTED
            cap = Cap(slot.word0, slot.word1)
        final = mdb.is_final(slot)
        if final and not _release_waiting(core, cap, work):
            return _Outcome.PREEMPTED
        remainder = finalise_cap(core, slot, cap, final, work)
        if _is_removable(remainder, slot):
            return _Outcome.REMOVABLE
        caps.write(slot, remainder)
        if not exposed and remainder.object == slot.address:
            return _Outcome.CYCLIC
        if exposed:
            if not _reduce_zombie(core, slot, remainder, work):
                return _Outcome.PREEMPTED
        else:
            _swap_aside(core, slot, remainder, work)
        if not work.spend():
            return _Outcome.PREEMPTED


def _is_removable(remainder: Cap, slot: Slot) -> bool:
    """Whether nothing is left, or a zombie that covers no slot but the one that it is in."""
    if not remainder.word0:
        return True
    left = remainder.word1
    return left == 0 or (left == 1 and remainder.object == slot.address)


def _reduce_zombie(core: Core, slot: Slot, zombie: Cap, work: Work) -> bool:
    """Empty the last slots that the zombie in ``slot`` covers. False if preempted."""
    first, left = zombie.object, zombie.word1
    occupied = _without_empty_tail(core, first, left)
    if occupied < left:
        slot.word1 = occupied
        return True
    end = core.slot(first + (left - 1) * Slot.SIZE)
    if not _delete_inside(core, end, work):
        return False
    now = Cap(slot.word0, slot.word1)
    if now == zombie:
        if end.word0:
            raise KernelBug(f"slot 0x{end.address:x} was finalised and is not empty")
        slot.word1 = left - 1
    elif now.word0 and not (now.type == CapType.ZOMBIE and now.object == slot.address != first):
        raise KernelBug(f"the zombie at 0x{slot.address:x} was replaced by a {now.type.name} capability")
    return True


def _without_empty_tail(core: Core, first: int, count: int) -> int:
    """How many of ``count`` slots from ``first`` on are left when empty ones at the end are dropped.

    By halves: a look at each byte would cost several times what a unit of work may.
    """
    if core.ram.word(first + (count - 1) * Slot.SIZE):
        return count
    looked_at = min(count, SKIP_SLOTS)
    start = count - looked_at
    tail = core.ram.read(first + start * Slot.SIZE, looked_at * Slot.SIZE)
    least, most = 0, looked_at
    while least < most:
        middle = (least + most) // 2
        if tail[middle * Slot.SIZE : most * Slot.SIZE] == _EMPTY_SLOTS[: (most - middle) * Slot.SIZE]:
            most = middle
        else:
            least = middle + 1
    return start + most


def _swap_aside(core: Core, slot: Slot, zombie: Cap, work: Work) -> None:
    """Put the zombie into the first slot that it covers, and that slot's capability here, to be deleted next."""
    inner = core.slot(zombie.object)
    work.spend(death_notices.place_left(core, inner))
    mdb.swap(core, caps.read(inner), inner, zombie, slot)


def _release_bound(core: Core, slot: Slot, work: Work) -> bool:
    """End what hangs on a bound capability: a thread's listening, or a channel. False if work is left."""
    listener = listening.owner_of(slot)
    if listener is not None:
        return listening.end(core, listener, work)
    channels.unlink(core, Channel(core.ram, slot.address))
    return True


def _release_waiting(core: Core, cap: Cap, work: Work) -> bool:
    """Do what may take long before the last capability goes: let waiting threads go on. False if some still wait."""
    match cap.word0 >> TYPE_SHIFT:
        case CapType.ENDPOINT:
            waiting = Endpoint(core.ram, cap.object)
            if waiting.head is None:
                return True
            done = endpoint.cancel_some(core, waiting)
        case CapType.NOTIFICATION:
            signal = Notification(core.ram, cap.object)
            if signal.head is None:
                return True
            done = notification.cancel_some(core, signal)
        case CapType.IRQ_HANDLER:
            return delete(core, core.kernel.irq_slot(cap.irq), work)
        case CapType.TCB:
            return threads.release(core, Tcb(core.ram, cap.object), work)
        case CapType.IO_SPACE:
            return io_space.release(core, IoSpace(core.ram, cap.object), work)
        case CapType.VSPACE:
            return threads.release_vspace(core, cap, work)
        case _:
            return True
    work.spend(WORK_UNITS)
    return done


def finalise_cap(core: Core, slot: Slot, cap: Cap, final: bool, work: Work) -> Cap:
    """Do what the end of this capability means, and if it is the ``final`` one, what the end of its object means.

    Returns what must stay in the slot: NULL, or the zombie of an object that still holds capabilities.
    """
    kind = cap.word0 >> TYPE_SHIFT
    if kind == CapType.ZOMBIE:
        return cap
    core.deletions().append(Deletion(slot.address, cap.word0, cap.word1, work.thread, work.revoked))
    if kind == CapType.FRAME:
        mappings.end(core, slot)
    remainder = NULL
    if kind == CapType.VSPACE:
        work.spend(threads.leave_vspace(core, cap, final))
    elif final:
        remainder = _finalise_object(core, cap, kind)
    if final:
        work.spend(death_notices.object_destroyed(core, cap))
    return remainder


def _finalise_object(core: Core, cap: Cap, kind: int) -> Cap:
    ram = core.ram
    address = cap.word0 & OBJECT_MASK
    match kind:
        case CapType.ENDPOINT:
            endpoint.cancel_all(core, Endpoint(ram, address))
        case CapType.NOTIFICATION:
            notification.finalise(core, Notification(ram, address))
        case CapType.REPLY:
            reply.finalise(core, Reply(ram, address))
        case CapType.SCHED_CONTEXT:
            sched_context.finalise(core, SchedContext(ram, address))
        case CapType.CNODE:
            return caps.zombie(address, ZombieOf.CNODE, 1 << cap.radix, cap.radix)
        case CapType.TCB:
            _finalise_tcb(core, Tcb(ram, address))
            return caps.zombie(address, ZombieOf.TCB, TCB_SLOTS)
        case CapType.CHANNEL:
            channel = Channel(ram, address)
            channels.sever(core, channel)
            if channel.slot.word0:
                return caps.zombie(address, ZombieOf.CHANNEL, Channel.SLOTS)
        case CapType.DEATH_NOTICE:
            notice = DeathNotice(ram, address)
            death_notices.finalise(core, notice)
            if notice.slot.word0:
                return caps.zombie(address, ZombieOf.DEATH_NOTICE, DeathNotice.SLOTS)
        case CapType.FRAME:
            core.outbox.tell(Tell.FRAME_GONE, address, 1 << cap.frame_size_bits)
        case CapType.IRQ_HANDLER:
            interrupts.finalise(core, cap.irq)
        case CapType.IO_PORT:
            ioport.release(core, cap.first_port, cap.last_port)
    return NULL


def _finalise_tcb(core: Core, thread: Tcb) -> None:
    threads.end(core, thread)
    if core.kernel.initial_tcb == thread:
        core.kernel.initial_tcb = None
    core.diagnostics.refusals.pop(thread.address, None)
