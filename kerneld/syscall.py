"""The eleven system calls: one `match`. seL4 Reference Manual 2.2; SEL4 `handleSyscall`, `handleInvocation`.

A system call ends in one of four ways: its completion is recorded (the thread goes on), the thread blocks (somebody
else completes it later), the thread faults, or it is preempted (it will be carried out again).
"""

from __future__ import annotations

from kerneld import budgets, completion, cspace, faults, ipc, message, questions, scheduler, vm_faults
from kerneld.core import Call, Core, Invocation, Preempted
from kerneld.decode import decode_invocation
from kerneld.failures import Fault, LookupFailure, SyscallError
from kerneld.objects import endpoint, listen, notification, reply
from kerneld.records import CapType, Endpoint, Notification, Reply, Slot, Tcb, ThreadState
from libsel4py import abi
from libsel4py.abi import FaultLabel, Syscall


def handle(core: Core, tcb: Tcb) -> None:
    """Carry out the system call that is saved in the TCB."""
    try:
        _dispatch(core, tcb)
    except Fault as fault:
        faults.raise_fault(core, tcb, fault)
        return
    if tcb.in_trap and tcb.state == ThreadState.RUNNING:
        completion.complete(core, tcb)


def _dispatch(core: Core, tcb: Tcb) -> None:
    op = _signed(tcb.op)
    match op:
        case Syscall.CALL:
            invoke(core, tcb, tcb.cptr, blocking=True, is_call=True)
        case Syscall.REPLY_RECV:
            invoke(core, tcb, tcb.reply_cptr, blocking=False, first_phase=True)
            _receive_phase(core, tcb, can_reply=True)
        case Syscall.SEND:
            invoke(core, tcb, tcb.cptr, blocking=True)
        case Syscall.NB_SEND:
            invoke(core, tcb, tcb.cptr, blocking=False)
        case Syscall.RECV:
            receive(core, tcb, blocking=True, can_reply=True)
        case Syscall.NB_SEND_RECV:
            invoke(core, tcb, tcb.dest_cptr, blocking=False, first_phase=True, can_donate=True)
            _receive_phase(core, tcb, can_reply=True)
        case Syscall.NB_SEND_WAIT:
            invoke(core, tcb, tcb.dest_cptr, blocking=False, first_phase=True, can_donate=True)
            _receive_phase(core, tcb, can_reply=False)
        case Syscall.NB_RECV:
            receive(core, tcb, blocking=False, can_reply=True)
        case Syscall.WAIT:
            receive(core, tcb, blocking=True, can_reply=False)
        case Syscall.NB_WAIT:
            receive(core, tcb, blocking=False, can_reply=False)
        case Syscall.YIELD:
            budgets.give_up(core, tcb)
            scheduler.end_turn(core, tcb)
        case Syscall.CANCEL:
            pass  # the completion is all: nothing is blocked
        case Syscall.EXPLAIN:
            questions.answer_explain(core, tcb)
        case Syscall.IDENTIFY:
            questions.answer_identify(core, tcb)
        case Syscall.LISTEN:
            _listen(core, tcb)
        case Syscall.FAULT:
            vm_faults.look_up(core, tcb)
        case Syscall.EXIT:
            raise Fault(FaultLabel.USER_EXCEPTION, (0, 0, abi.ExceptionNumber.DEATH, (tcb.mr0 & 255) << 8), "it exited")
        case _:
            raise Fault(FaultLabel.UNKNOWN_SYSCALL, (tcb.op,), f"there is no system call {op}")


def _receive_phase(core: Core, tcb: Tcb, *, can_reply: bool) -> None:
    """The second half of a two-phase system call, unless the first was preempted: then both are carried out again."""
    if tcb.state == ThreadState.RUNNING:
        receive(core, tcb, blocking=True, can_reply=can_reply)


def _signed(word: int) -> int:
    return word - (1 << 64) if word >> 63 else word


def invoke(
    core: Core,
    tcb: Tcb,
    cptr: int,
    *,
    blocking: bool,
    is_call: bool = False,
    first_phase: bool = False,
    can_donate: bool = False,
) -> None:
    """The sending half: send on an endpoint, signal, reply, or a method of a kernel object.

    Order of checks as in seL4's `handleInvocation`: capability, extra capabilities, then the object's own decode. A
    failed look-up faults only where the call blocks; everywhere else it is silent.
    """
    try:
        slot = cspace.lookup_slot(tcb, cptr)
    except LookupFailure as failure:
        if blocking:
            raise Fault.from_lookup(cptr, False, failure) from None
        return
    try:
        extra = message.lookup_extra_caps(tcb)
    except Fault:
        if blocking:
            raise
        return
    kind = slot.cap_type
    try:
        if kind == CapType.ENDPOINT:
            _send(core, tcb, slot, blocking=blocking, is_call=is_call, can_donate=can_donate)
            return
        if kind == CapType.NOTIFICATION:
            if not slot.can_write:
                raise SyscallError(abi.Error.INVALID_CAPABILITY, (0,), "the notification capability lacks Write")
            notification.send_signal(core, Notification(core.ram, slot.object), slot.word1)
            words: tuple[int, ...] = ()
        elif kind == CapType.REPLY:
            reply.do_reply(core, tcb, Reply(core.ram, slot.object), slot)
            words = ()
        else:
            call = Call(
                tcb, slot, cptr, tcb.info >> 12, message.message_words(tcb), extra, blocking, is_call, first_phase
            )
            result = _perform(core, tcb, decode_invocation(core, call))
            if result is None:
                return
            words = result
    except SyscallError as error:
        core.refused(tcb, cptr, tcb.info >> 12, error)
        if is_call:
            completion.complete_with_words(core, tcb, abi.message_info(error.error, len(error.words)), error.words)
        return
    if is_call and tcb.in_trap:
        completion.complete_with_words(core, tcb, abi.message_info(0, len(words)), words)


def _perform(core: Core, tcb: Tcb, invocation: Invocation) -> tuple[int, ...] | None:
    """Carry out what was decoded; returns the answer's words, None if the thread is to carry it out again."""
    result = invocation.perform(core)
    if not isinstance(result, Preempted):
        return result
    if tcb.in_trap and tcb.state == ThreadState.RUNNING:  # unless the work so far stopped the caller itself
        scheduler.set_state(core, tcb, ThreadState.RESTART)
    return None


def _listen(core: Core, tcb: Tcb) -> None:
    """LISTEN, answered as an invocation is. An address that does not resolve is a fault, as in a call."""
    cptr = tcb.cptr
    try:
        slot = cspace.lookup_slot(tcb, cptr) if cptr else None
    except LookupFailure as failure:
        raise Fault.from_lookup(cptr, False, failure) from None
    label = 0
    try:
        words = _perform(core, tcb, listen.decode(tcb, slot))
    except SyscallError as error:
        core.refused(tcb, cptr, Syscall.LISTEN, error)
        label, words = error.error, error.words
    if words is not None and tcb.in_trap:
        completion.complete_with_words(core, tcb, abi.message_info(label, len(words)), words)


def _send(core: Core, tcb: Tcb, slot: Slot, *, blocking: bool, is_call: bool, can_donate: bool) -> None:
    if not slot.can_write:
        raise SyscallError(abi.Error.INVALID_CAPABILITY, (0,), "the endpoint capability lacks Write, so it cannot send")
    ipc.send(
        core,
        tcb,
        Endpoint(core.ram, slot.object),
        badge=slot.word1,
        can_grant=bool(slot.can_grant),
        can_grant_reply=bool(slot.can_grant_reply),
        blocking=blocking,
        is_call=is_call,
        can_donate=is_call or can_donate,
    )


def receive(core: Core, tcb: Tcb, *, blocking: bool, can_reply: bool) -> None:
    """The receiving half: wait on an endpoint or a notification. Every failure is a CAP_FAULT in the receive phase."""
    cptr = tcb.cptr
    try:
        slot = cspace.lookup_slot(tcb, cptr)
    except LookupFailure as failure:
        raise Fault.from_lookup(cptr, True, failure) from None
    kind = slot.cap_type
    if kind == CapType.ENDPOINT:
        if not slot.can_read:
            raise _missing(cptr, "the endpoint capability lacks Read, so it cannot receive")
        reply_object = _reply_object(core, tcb) if can_reply else None
        endpoint.receive(core, tcb, Endpoint(core.ram, slot.object), slot, reply_object, blocking=blocking)
    elif kind == CapType.NOTIFICATION:
        target = Notification(core.ram, slot.object)
        bound = target.bound_tcb
        if not slot.can_read:
            raise _missing(cptr, "the notification capability lacks Read, so it cannot wait")
        if bound is not None and bound != tcb:
            raise _missing(cptr, "the notification is bound to another thread, which alone may wait on it")
        notification.receive_signal(core, tcb, target, blocking=blocking)
    else:
        raise _missing(cptr, f"a capability of type {CapType(kind).name} cannot be received on")


def _reply_object(core: Core, tcb: Tcb) -> Reply:
    """The reply object that a receive brings along."""
    cptr = tcb.reply_cptr
    try:
        slot = cspace.lookup_slot(tcb, cptr)
    except LookupFailure as failure:
        raise Fault.from_lookup(cptr, True, failure) from None
    if slot.cap_type != CapType.REPLY:
        raise _missing(cptr, "a receive takes the capability of a reply object, and this is none")
    return Reply(core.ram, slot.object)


def _missing(cptr: int, where: str) -> Fault:
    failure = LookupFailure(abi.LookupFailureKind.MISSING_CAPABILITY, (0,), where)
    return Fault.from_lookup(cptr, True, failure)
