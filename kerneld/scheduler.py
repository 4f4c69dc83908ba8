"""Who may run. Threads run in parallel and the host shares out the processors; the kernel says who may and may not.

A thread may run when its state is RUNNING or RESTART and it has a scheduling context. On a machine with virtual cores
it must have been chosen as well (`cores/`). Every state change goes
through `set_state`; at the end of a transaction `settle` compares what each touched thread should do with what the host
was told before, and tells the difference. Nothing else tells the host to start, stop or continue a thread.
"""

from __future__ import annotations

from kerneld.core import Core, Place
from kerneld.cores import slices
from kerneld.outbox import Tell
from kerneld.records import CapType, KernelRecord, ProcessState, SchedContext, Tcb, TcbSlot, ThreadState

RUNNABLE = (ThreadState.RUNNING, ThreadState.RESTART)


def set_state(core: Core, tcb: Tcb, state: ThreadState) -> None:
    tcb.state = state
    core.touched[tcb.address] = None


def touch(core: Core, tcb: Tcb) -> None:
    """Something else than its state changes whether the thread may run: `settle` looks at it."""
    core.touched[tcb.address] = None


def may_run(tcb: Tcb) -> bool:
    """Whether the thread is ready, and no other one has its virtual core."""
    return is_ready(tcb) and not tcb.waits_turn


def is_ready(tcb: Tcb) -> bool:
    """Whether the thread is runnable and has processor time to run on."""
    return tcb.state in RUNNABLE and has_time(tcb.sched_context)


def has_time(context: SchedContext | None) -> bool:
    """Whether a scheduling context has been configured, and has budget now."""
    return context is not None and context.refill_max != 0 and not context.postponed


def watch(core: Core, context: SchedContext) -> None:
    """Have the host say when its budget could be used up, or there is some again. The last time that is told counts."""
    context.watched = 1
    core.outbox.tell(Tell.WATCH, context.address)


def end_turn(core: Core, tcb: Tcb) -> None:
    """The thread goes behind the others of its priority, with a new slice. Where the host shares out the processors,
    it does that as it thinks fit."""
    context = tcb.sched_context
    if context is not None:
        slices.end(core, context)


def choose_anew(core: Core) -> None:
    """Whom this transaction wakes goes before its equals, also where it is one alone and the thread that runs goes on.
    SEL4 `rescheduleRequired`."""
    if core.kernel.cores:
        core.chooses_anew = True


def put_anew(core: Core, tcb: Tcb, place: Place) -> None:
    """Where the thread waits for its turn, it is put among its equals again."""
    touch(core, tcb)
    if core.kernel.cores:
        core.put_anew[tcb.address] = place


def settle(core: Core) -> None:
    """Tell the host what changes for the touched threads. The last act of every transaction."""
    for address in core.touched:
        _settle_thread(core, core.tcb(address))
    core.touched.clear()


def _settle_thread(core: Core, tcb: Tcb) -> None:
    if not may_run(tcb):
        if tcb.process == ProcessState.LIVE and not tcb.in_trap and not tcb.told_pending:
            tcb.process = ProcessState.STOPPED
            core.outbox.tell(Tell.STOP, tcb.address)
        return
    context = tcb.sched_context
    if context is not None and context.period and not context.watched:
        watch(core, context)
    if tcb.process == ProcessState.NONE:
        if tcb.trap_frame and tcb.slot(TcbSlot.VSPACE).cap_type == CapType.VSPACE:
            _start(core, tcb)
        return
    if tcb.process == ProcessState.STOPPED:
        tcb.process = ProcessState.LIVE
        core.outbox.tell(Tell.CONTINUE, tcb.address)
    if tcb.in_trap and tcb.state == ThreadState.RESTART:
        enqueue_restart(core.kernel, tcb)
    elif tcb.told_pending:
        taken = tcb.takes_memory
        core.outbox.tell(Tell.DELIVER, tcb.address, taken)
        if taken:
            tcb.takes_memory = 0
    if not tcb.in_trap and tcb.state == ThreadState.RESTART:
        tcb.state = ThreadState.RUNNING


def _start(core: Core, tcb: Tcb) -> None:
    """A thread that has no process begins at its registers, with empty rings; a saved system call is forgotten."""
    tcb.process = ProcessState.LIVE
    tcb.state = ThreadState.RUNNING
    tcb.consumed = 0
    tcb.produced = 0
    tcb.in_trap = 0
    tcb.told_pending = 0
    tcb.takes_memory = 0
    core.outbox.tell(Tell.START, tcb.address)


def enqueue_restart(kernel: KernelRecord, tcb: Tcb) -> None:
    """Put a thread at the end of the queue of system calls to carry out again; at most once."""
    if tcb.restart_queued:
        return
    tcb.restart_queued = 1
    last = kernel.restart_tail
    if last is None:
        kernel.restart_head = tcb
    else:
        last.restart_next = tcb
        tcb.restart_prev = last
    kernel.restart_tail = tcb


def dequeue_restart(kernel: KernelRecord) -> Tcb | None:
    """The thread whose system call is to be carried out next."""
    first = kernel.restart_head
    if first is None:
        return None
    forget(kernel, first)
    return first


def forget(kernel: KernelRecord, tcb: Tcb) -> None:
    """Take a thread out of the restart queue, if it is in it."""
    if not tcb.restart_queued:
        return
    before, behind = tcb.restart_prev, tcb.restart_next
    if before is None:
        kernel.restart_head = behind
    else:
        before.restart_next = behind
        tcb.restart_prev = None
    if behind is None:
        kernel.restart_tail = before
    else:
        behind.restart_prev = before
        tcb.restart_next = None
    tcb.restart_queued = 0
