"""LISTEN: the calling thread takes the channels of an endpoint or notification from now on, or stops to.

What listening means to others, and how it ends, is `listening.py`'s.
"""

from __future__ import annotations

from dataclasses import dataclass

from kerneld import caps, channels, deletion, derive, listening, mdb
from kerneld.caps import Cap
from kerneld.channels import Target
from kerneld.core import PREEMPTED, Core, Invocation, Result
from kerneld.failures import illegal_operation, invalid_capability, range_error
from kerneld.records import KernelRecord, Notification, Slot, Tcb, TcbSlot
from kerneld.work import Work
from libsel4py.abi import LISTENERS_PER_ENDPOINT


@dataclass(frozen=True, slots=True)
class Listen:
    """``cap`` is the copy of the capability in ``source`` that the thread is to listen by."""

    tcb: Tcb
    target: Target
    cap: Cap
    source: Slot

    def perform(self, core: Core) -> Result:
        """A thread that listens there already keeps its number, and an earlier life's pages are not taken away."""
        tcb = self.tcb
        slot = tcb.slot(TcbSlot.LISTEN)
        if mdb.same_object(self.cap, caps.read(slot)):
            slot.bound = 0
        if not deletion.delete(core, slot, Work(tcb.address)):
            return PREEMPTED
        mdb.insert(core, caps.bind(self.cap), self.source, slot)
        if not tcb.listener:
            listening.join(tcb, self.target)
        listening.open_all(core, tcb)
        return (tcb.listener,)


@dataclass(frozen=True, slots=True)
class StopListening:
    tcb: Tcb

    def perform(self, core: Core) -> Result:
        slot = self.tcb.slot(TcbSlot.LISTEN)
        return () if deletion.delete(core, slot, Work(self.tcb.address)) else PREEMPTED


def decode(tcb: Tcb, slot: Slot | None) -> Invocation:
    """The checked LISTEN of a thread by the capability in ``slot``; None is the wish to stop.

    Raises:
        SyscallError: in this order. ILLEGAL_OPERATION (virtual cores), INVALID_CAPABILITY(0) (type, rights),
            ILLEGAL_OPERATION (it listens to something else; the notification is another thread's), RANGE_ERROR (the
            endpoint's listeners).
    """
    if slot is None:
        return StopListening(tcb)
    if KernelRecord.of(tcb.ram).cores:
        raise illegal_operation(
            "on virtual cores nothing goes past the kernel: what would run is the kernel's to choose"
        )
    target = channels.target_of(slot)
    if target is None:
        raise invalid_capability(0, "a thread listens to an endpoint or a notification, and this is neither")
    if not slot.can_read:
        raise invalid_capability(0, "the capability lacks Read, so nothing can be received by it")
    now = listening.target_of(tcb)
    if now is not None and now != target:
        raise illegal_operation("the thread listens to something else already; LISTEN of address 0 ends that")
    if isinstance(target, Notification):
        ensure_free(target, tcb)
    elif now is None and sum(1 for _ in listening.members(target)) >= LISTENERS_PER_ENDPOINT:
        raise range_error(0, LISTENERS_PER_ENDPOINT, "as many threads as can listen to the endpoint already")
    return Listen(tcb, target, derive.derive_cap(slot, caps.read(slot)), slot)


def ensure_free(notification: Notification, tcb: Tcb) -> None:
    """Raise ILLEGAL_OPERATION where another thread takes the notification's signals."""
    if notification.listeners not in (None, tcb):
        raise illegal_operation("another thread listens to the notification")
    if notification.bound_tcb not in (None, tcb):
        raise illegal_operation("the notification is bound to another thread, which alone may receive its signals")
