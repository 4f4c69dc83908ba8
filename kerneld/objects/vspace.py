"""VSpace: an address space, which is a process of the host. Its threads are in a list that begins here.

Rule: a thread is in the list exactly while the VSpace slot of its TCB holds a capability to this VSpace.
"""

from __future__ import annotations

from kerneld.core import Call, Core, Invocation
from kerneld.failures import illegal_operation
from kerneld.objects import tcb
from kerneld.outbox import Tell
from kerneld.records import ProcessState, Slot, Tcb, TcbSlot, VSpace


def decode(core: Core, call: Call) -> Invocation:
    """A VSpace has no methods: threads get it by their TCB's Configure and SetSpace.

    Raises:
        SyscallError: ILLEGAL_OPERATION, always.
    """
    raise illegal_operation(f"a VSpace has no method with label {call.label}")


def link(core: Core, space: VSpace, thread: Tcb) -> None:
    """Add a thread whose VSpace slot has just been filled."""
    thread.vspace_next = space.threads
    space.threads = thread


def unlink(core: Core, space: VSpace, thread: Tcb) -> bool:
    """Take a thread out of the list. Returns whether it was in it."""
    before: Tcb | None = None
    at = space.threads
    while at is not None and at != thread:
        before, at = at, at.vspace_next
    if at is None:
        return False
    if before is None:
        space.threads = thread.vspace_next
    else:
        before.vspace_next = thread.vspace_next
    thread.vspace_next = None
    return True


def finalise(core: Core, space: VSpace, slot: Slot, final: bool) -> None:
    """A capability to the VSpace, in ``slot``, is being deleted; with the ``final`` one the process ends.

    A thread whose own VSpace slot this is has nowhere to run: it is stopped, and its host thread ended.
    """
    at = space.threads
    while at is not None:
        if at.slot(TcbSlot.VSPACE) == slot:
            unlink(core, space, at)
            tcb.suspend(core, at)
            if at.process != ProcessState.NONE:
                at.process = ProcessState.NONE
                core.outbox.tell(Tell.KILL, at.address, space.address)
            break
        at = at.vspace_next
    if final:
        core.outbox.tell(Tell.VSPACE_GONE, space.address)
