"""What stopping or ending a thread means to everybody else, and which address space it belongs to.

The threads of a VSpace are in a list that begins there: a thread is in it exactly while the VSpace slot of its TCB
holds a capability to that VSpace. Methods that threads are asked by are `objects/tcb*.py`'s.
"""

from __future__ import annotations

from kerneld import channels, completion, ipc, listening, scheduler
from kerneld.core import Core
from kerneld.objects import notification, sched_context
from kerneld.outbox import Tell
from kerneld.records import CapType, ProcessState, Slot, Tcb, TcbSlot, ThreadState, VSpace
from kerneld.work import Work
from libsel4py import abi


def suspend(core: Core, tcb: Tcb) -> None:
    """Stop a thread, and cancel what it waits for: a resume carries its system call out from the start.

    A thread that suspends itself has its system call completed first, so that a resume does not suspend it again.
    """
    if tcb.in_trap and tcb.state == ThreadState.RUNNING:
        completion.complete(core, tcb)
    ipc.cancel(core, tcb)
    scheduler.set_state(core, tcb, ThreadState.INACTIVE)


def release(core: Core, tcb: Tcb, work: Work) -> bool:
    """The last capability is about to go: end what the thread has by channels. False if work is left."""
    space = listening.address_space(tcb)
    alone = space is not None and space.threads == tcb and tcb.vspace_next is None
    return (
        channels.sever_all(core, tcb, work)
        and listening.end(core, tcb, work, process_ends=alone)
        and listening.part(core, tcb, work)
    )


def lose_process(core: Core, tcb: Tcb) -> int:
    """The thread's process has ended, or is not the thread's any more: it goes on, if at all, from its registers.

    Its own channels are severed. What it had taken by others' is not answered. Returns for how many channels the host
    is told something.
    """
    tcb.process = ProcessState.NONE
    severed = tcb.channel_count
    channels.sever_all(core, tcb, Work(left=abi.CHANNELS_PER_THREAD + 1))
    return severed + listening.lose(core, tcb)


def end(core: Core, tcb: Tcb) -> None:
    """The last capability is gone: the thread ends, and nothing in the kernel refers to it any more.

    The capabilities inside the TCB are deleted by the caller, afterwards.
    """
    bound = tcb.bound_notification
    if bound is not None:
        notification.unbind(bound)
    context = tcb.sched_context
    if context is not None:
        sched_context.unbind_thread(core, context)
    ipc.cancel(core, tcb)
    scheduler.set_state(core, tcb, ThreadState.INACTIVE)
    scheduler.forget(core.kernel, tcb)
    tcb.in_trap = 0
    tcb.told_pending = 0
    slot = tcb.slot(TcbSlot.VSPACE)
    space = VSpace(core.ram, slot.object) if slot.cap_type == CapType.VSPACE else None
    if space is not None:
        unlink(core, space, tcb)
    # A thread that has ended by EXIT has no process for the kernel, and may have one for the host.
    tcb.process = ProcessState.NONE
    core.outbox.tell(Tell.KILL, tcb.address, space.address if space is not None else 0)


def join_vspace(core: Core, space: VSpace, thread: Tcb) -> None:
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


def leave_vspace(core: Core, space: VSpace, slot: Slot, final: bool) -> int:
    """A capability to the VSpace, in ``slot``, is being deleted; with the ``final`` one the process ends.

    A thread whose own VSpace slot this is has nowhere to run: it is stopped, and its host thread ended. Returns for how
    many channels the host is told something because of that.
    """
    told = 0
    at = space.threads
    while at is not None:
        if at.slot(TcbSlot.VSPACE) == slot:
            unlink(core, space, at)
            suspend(core, at)
            if at.process != ProcessState.NONE:
                told = lose_process(core, at)
                core.outbox.tell(Tell.KILL, at.address, space.address)
            break
        at = at.vspace_next
    if final:
        core.outbox.tell(Tell.VSPACE_GONE, space.address)
    return told
