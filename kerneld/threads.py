"""What stopping or ending a thread means to everybody else, and which address space it belongs to.

The threads of a VSpace are in a list that begins there: a thread is in it exactly while the VSpace slot of its TCB
holds a capability to that VSpace whose second word names the thread. So what a capability's end means is known from the
capability, and no list is walked: a task may have made thousands of threads. Methods that threads are asked by are
`objects/tcb*.py`'s.
"""

from __future__ import annotations

from typing import Final

from kerneld import channels, completion, death_notices, ipc, listening, mappings, scheduler
from kerneld.caps import Cap
from kerneld.core import Core
from kerneld.cores import schedule, yielding
from kerneld.objects import notification, sched_context
from kerneld.outbox import Tell
from kerneld.records import CapType, ProcessState, Tcb, TcbSlot, ThreadState, VSpace
from kerneld.work import Work
from libsel4py import abi

KILLED: Final = 9  # the wait status of a process that the kernel has ended (SIGKILL)


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


def lose_process(core: Core, tcb: Tcb, status: int) -> int:
    """The thread's process has ended, or is not the thread's any more: it goes on, if at all, from its registers.

    Its own channels are severed. What it had taken by others' is not answered. Those who watch the thread are told,
    with the wait status. Returns for how many channels the host is told something, and how many notices were told.
    """
    tcb.process = ProcessState.NONE
    space = _space(tcb)
    if space is not None:
        space.limited = 0
    severed = tcb.channel_count
    channels.sever_all(core, tcb, Work(left=abi.CHANNELS_PER_THREAD + 1))
    return severed + listening.lose(core, tcb) + death_notices.process_ended(core, tcb, status)


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
    schedule.leave(tcb)
    yielding.forget(tcb)
    tcb.in_trap = 0
    tcb.told_pending = 0
    space = _space(tcb)
    if space is not None:
        space.limited = 0
        unlink(space, tcb)
    # A thread that has ended by EXIT has no process for the kernel, and may have one for the host.
    tcb.process = ProcessState.NONE
    core.outbox.tell(Tell.KILL, tcb.address, space.address if space is not None else 0)


def has_process(space: VSpace) -> bool:
    """Whether one of its threads has a process."""
    thread = space.threads
    while thread is not None:
        if thread.process != ProcessState.NONE:
            return True
        thread = thread.vspace_next
    return False


def _space(tcb: Tcb) -> VSpace | None:
    slot = tcb.slot(TcbSlot.VSPACE)
    return VSpace(tcb.ram, slot.object) if slot.cap_type == CapType.VSPACE else None


def join_vspace(core: Core, space: VSpace, thread: Tcb) -> None:
    """Add a thread whose VSpace slot has just been filled."""
    first = space.threads
    thread.vspace_next = first
    if first is not None:
        first.vspace_prev = thread
    space.threads = thread
    thread.slot(TcbSlot.VSPACE).word1 = thread.address


def unlink(space: VSpace, thread: Tcb) -> None:
    """Take a thread out of the list, if it is in it: then the capability in its VSpace slot says so."""
    slot = thread.slot(TcbSlot.VSPACE)
    if not slot.word1:
        return
    before, behind = thread.vspace_prev, thread.vspace_next
    if before is None:
        space.threads = behind
    else:
        before.vspace_next = behind
        thread.vspace_prev = None
    if behind is not None:
        behind.vspace_prev = before
        thread.vspace_next = None
    slot.word1 = 0


def leave_vspace(core: Core, cap: Cap, final: bool) -> int:
    """A VSpace capability is being deleted; with the ``final`` one the process ends.

    A thread whose own VSpace slot it was in has nowhere to run: it is stopped, and its host thread ended. Returns as
    `lose_process`.
    """
    told = 0
    space = VSpace(core.ram, cap.object)
    if cap.word1:
        thread = Tcb(core.ram, cap.word1)
        unlink(space, thread)
        told = _end_in(core, thread, space)
    if final:
        core.outbox.tell(Tell.VSPACE_GONE, space.address)
    return told


def release_vspace(core: Core, cap: Cap, work: Work) -> bool:
    """The last capability of a VSpace is about to go: its mappings end. False if some are left.

    The process ends before, so nobody has to take from it what it had mapped. Until the last unit of work the VSpace is
    one as any other, with fewer mappings.
    """
    space = VSpace(core.ram, cap.object)
    if not space.mapping_count:
        return True
    if cap.word1:
        work.spend(_end_in(core, Tcb(core.ram, cap.word1), space))
    core.outbox.tell(Tell.VSPACE_GONE, space.address)
    return mappings.empty(core, space, work, lives=False)


def _end_in(core: Core, thread: Tcb, space: VSpace) -> int:
    """Stop a thread, and end its part of the process. Returns as `lose_process`."""
    suspend(core, thread)
    if thread.process == ProcessState.NONE:
        return 0
    told = lose_process(core, thread, KILLED)
    core.outbox.tell(Tell.KILL, thread.address, space.address)
    return told
