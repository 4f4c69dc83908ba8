"""Messages of the specification: sending, receiving, replying, faulting (seL4's MCS API)."""

from __future__ import annotations

from libsel4py import abi
from libsel4py.abi import FaultLabel, LookupFailureKind, Status
from tests.model import channels, notice_ends, touches
from tests.model.addressing import Unresolved, resolve_pointer, resolve_slot
from tests.model.capability import NEVER_COPIED, Capability, Kind
from tests.model.derivation import Place
from tests.model.signals import give_back, take_signals
from tests.model.system import Completion, State, System, Thread
from tests.model.waiting import cancel, end_wait

CSPACE, FAULT_HANDLER = 0, 3  # of the TCB's slots
SYSCALL_REGISTERS = (
    *("rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "r8", "r9"),
    *("r10", "r11", "r12", "r13", "r14", "r15", "rip", "rsp", "rflags"),
)
EXCEPTION_REGISTERS = ("rip", "rsp", "rflags")
# Registers that an x86_64 system call is made with: which word of the submission each one is.
CALL_REGISTERS = ("rdx", "rsi", "rdi", "r10", "r8", "r9", "r15", "r12", "r13")


class Faulted(Exception):
    """The system call ends in a fault."""

    def __init__(self, label: FaultLabel, *words: int) -> None:
        super().__init__(label.name, words)
        self.label = label
        self.words = words

    @classmethod
    def by_lookup(cls, cptr: int, receiving: bool, failure: Unresolved) -> Faulted:
        return cls(FaultLabel.CAP_FAULT, cptr, int(receiving), failure.kind, *failure.words)


def missing(cptr: int) -> Faulted:
    """A receive by a capability that cannot receive."""
    return Faulted.by_lookup(cptr, True, Unresolved(LookupFailureKind.MISSING_CAPABILITY, 0))


def lookup(system: System, thread: Thread, cptr: int) -> Place:
    return resolve_pointer(system.inside(thread, CSPACE), cptr, system.held)


def lookup_extra_caps(system: System, thread: Thread) -> list[Place]:
    assert thread.submission is not None
    places = []
    for cptr in thread.submission.extra_caps:
        try:
            places.append(lookup(system, thread, cptr))
        except Unresolved as failure:
            raise Faulted.by_lookup(cptr, False, failure) from None
    return places


# --- a message from one thread to another


def deliver(system: System, sender: Thread, receiver: Thread, badge: int, can_grant: bool, where: int | None) -> None:
    """End the receiver's system call with the sender's message, or the one about its fault."""
    assert receiver.submission is not None
    buffered = not receiver.submission.inline
    unwrapped: dict[int, int] = {}
    extra = 0
    if sender.fault is not None:
        label: int = sender.fault[0]
        words = fault_message(sender)
    else:
        assert sender.submission is not None
        label, words = sender.submission.label, sender.submission.message
        if can_grant and buffered:
            extra, unwrapped = _move_caps(system, sender, receiver, where)
    words = words if buffered else words[:4]
    first, second, third, fourth = (*words, 0, 0, 0, 0)[:4]
    info = abi.message_info(label, len(words), extra, sum(1 << number for number in unwrapped))
    badges = (unwrapped.get(0, 0), unwrapped.get(1, 0), unwrapped.get(2, 0)) if unwrapped else None
    system.complete(receiver, Completion(badge, info, (first, second, third, fourth), words[4:], badges))


def _move_caps(system: System, sender: Thread, receiver: Thread, where: int | None) -> tuple[int, dict[int, int]]:
    """How many capabilities were dealt with, and the badges of those that were unwrapped."""
    unwrapped: dict[int, int] = {}
    try:
        places = lookup_extra_caps(system, sender)
    except Faulted:
        return 0, unwrapped
    destination = _receive_slot(system, receiver)
    for number, place in enumerate(places):
        source = system.tree.at(place)
        held = None if source is None else source.capability
        if held is not None and held.kind is Kind.ENDPOINT and held.address == where:
            unwrapped[number] = held.badge
        elif source is None or destination is None or not is_copyable(system, place):
            return number, unwrapped
        else:
            system.tree.copy(source, destination, source.capability)
            destination = None
    return len(places), unwrapped


def is_copyable(system: System, place: Place) -> bool:
    source = system.holding(place)
    kind = source.capability.kind
    return kind not in NEVER_COPIED and not (kind is Kind.UNTYPED and source.children)


def _receive_slot(system: System, receiver: Thread) -> Place | None:
    assert receiver.submission is not None
    cnode, index, depth = receiver.submission.receive_path
    if not 1 <= depth <= abi.WORD_BITS:
        return None
    try:
        root = system.held(lookup(system, receiver, cnode))
        place = resolve_slot(root, index, depth, system.held)
    except Unresolved:
        return None
    return place if system.held(place) is None else None


def fault_message(thread: Thread) -> tuple[int, ...]:
    assert thread.fault is not None
    label, words = thread.fault
    if label is FaultLabel.UNKNOWN_SYSCALL:
        call = thread.submission
        assert call is not None
        made = (call.op, call.info, call.cptr, *call.registers, call.reply, call.dest)
        known = {name: word & abi.WORD_MASK for name, word in zip(CALL_REGISTERS, made, strict=True)}
        return (*((thread.registers | known).get(name, 0) for name in SYSCALL_REGISTERS), *words)
    if label is FaultLabel.USER_EXCEPTION:
        return (*(thread.registers.get(name, 0) for name in EXCEPTION_REGISTERS), *words[2:])
    if label is FaultLabel.VM_FAULT:
        return words
    return (thread.registers.get("rip", 0), *words)


# --- endpoints


def send(system: System, thread: Thread, way: Capability, *, blocking: bool, is_call: bool, can_donate: bool) -> None:
    """Send by an endpoint capability. A fault is sent the same way, and always waits for an answer."""
    endpoint = system.endpoints[way.address]
    if endpoint.sending or not endpoint.queue:
        if blocking:
            thread.way, thread.is_call = way, is_call
            system.enqueue(way.address, thread)
            endpoint.sending = True
            system.set_state(thread, State.BLOCKED_ON_SEND)
        return
    receiver = system.threads[endpoint.queue[0]]
    system.dequeue(receiver)
    deliver(system, thread, receiver, way.badge, way.can_grant, way.address)
    reply = receiver.reply
    if reply is not None:
        system.replies[reply] = None
        receiver.reply = None
    if is_call or thread.fault is not None:
        await_reply(system, thread, receiver, reply, way, can_donate)
    elif can_donate and receiver.context is None and thread.context is not None:
        system.lend(thread.context, receiver)
    system.set_state(receiver, State.RUNNING)


def await_reply(
    system: System, caller: Thread, callee: Thread, reply: int | None, way: Capability, can_donate: bool
) -> None:
    if reply is None or not (way.can_grant or way.can_grant_reply):
        touches.stop(system, caller)
        return
    system.replies[reply] = caller.address
    caller.reply = reply
    system.set_state(caller, State.BLOCKED_ON_REPLY)
    if can_donate and caller.context is not None and callee.context is None:
        system.contexts[caller.context].calls.append(reply)
        system.lend(caller.context, callee)


def receive(system: System, thread: Thread, address: int, reply: int | None, *, blocking: bool) -> None:
    if reply is not None:
        user = system.replies[reply]
        if user is not None and user != thread.address:
            cancel(system, system.threads[user])
    if thread.bound is not None:
        bound = system.notifications[thread.bound]
        if bound.active:
            take_signals(system, thread, bound)
            return
        if blocking:
            give_back(system, thread, bound)
    endpoint = system.endpoints[address]
    if endpoint.queue and endpoint.sending:
        _take_message(system, thread, address, reply)
    elif blocking:
        if reply is not None:
            system.replies[reply] = thread.address
            thread.reply = reply
        system.enqueue(address, thread)
        endpoint.sending = False
        system.set_state(thread, State.BLOCKED_ON_RECEIVE)
    else:
        system.complete_unchanged(thread, 0, Status.EMPTY)


def _take_message(system: System, thread: Thread, address: int, reply: int | None) -> None:
    sender = system.threads[system.endpoints[address].queue[0]]
    way = sender.way
    assert way is not None
    system.dequeue(sender)
    deliver(system, sender, thread, way.badge, way.can_grant, address)
    if sender.is_call or sender.fault is not None:
        can_donate = sender.fault is None or sender.fault[0] is not FaultLabel.TIMEOUT
        await_reply(system, sender, thread, reply, way, can_donate)
    else:
        system.complete(sender, Completion())
        system.set_state(sender, State.RUNNING)


# --- replies


def reply_to(system: System, sender: Thread, capability: Capability) -> None:
    waiting = system.replies[capability.address]
    if waiting is None or system.threads[waiting].state is not State.BLOCKED_ON_REPLY:
        return
    caller = system.threads[waiting]
    end_wait(system, caller, capability.address)
    if caller.fault is not None:
        _answer_fault(system, sender, caller)
        return
    deliver(system, sender, caller, 0, capability.can_grant, None)
    system.set_state(caller, State.RUNNING)


def _answer_fault(system: System, sender: Thread, faulter: Thread) -> None:
    assert faulter.fault is not None
    assert sender.submission is not None
    label, words = faulter.fault[0], sender.submission.message
    faulter.fault = None
    if label is FaultLabel.CAP_FAULT:
        system.set_state(faulter, State.RESTART)
    elif sender.submission.label:
        touches.stop(system, faulter)
    elif label is FaultLabel.VM_FAULT:
        if faulter.submission is not None:
            system.complete(faulter, Completion())
        system.set_state(faulter, State.RESTART)
    else:
        unknown = label is FaultLabel.UNKNOWN_SYSCALL
        names = SYSCALL_REGISTERS if unknown else EXCEPTION_REGISTERS
        faulter.registers.update(zip(names, words, strict=False))
        if unknown:
            result = faulter.registers.get("rax", 0)
            system.complete(faulter, Completion(0, abi.message_info(0, 1), (result, 0, 0, 0)))
        system.set_state(faulter, State.RESTART)


# --- faults


def fault(system: System, thread: Thread, fault: Faulted) -> None:
    """Tell the thread's fault handler; without one the thread stops."""
    if fault.label is FaultLabel.USER_EXCEPTION:  # its process has ended
        thread.started = False
        channels.lose_process(system, thread)
        notice_ends.process_ended(system, thread.address, fault.words[3])
        thread.submission = thread.pending = None
    handler = system.inside(thread, FAULT_HANDLER)
    if handler is None or not handler.handles_faults:
        touches.stop(system, thread)
        return
    thread.fault = (fault.label, fault.words)
    send(system, thread, handler, blocking=True, is_call=False, can_donate=True)
