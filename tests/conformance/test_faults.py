"""Faults: their messages, what a reply does, and what happens without a good handler (manual 6.2; SEL4_API 2.4)."""

from __future__ import annotations

import pytest

from kerneld.records import ThreadState
from libsel4py import abi
from libsel4py.abi import Error, ExceptionNumber, FaultLabel, InitialSlot, Label, LookupFailureKind, ObjectType, Rights
from libsel4py.abi import Syscall
from tests.conformance.scenes import ENDPOINT, FREE, answer, call, faulting, got, is_empty, next_fault, poll, receive
from tests.conformance.scenes import send, set_root
from tests.harness import OWN_REPLY, Completion, Machine, Thread

BAD = 1 << 60  # does not resolve in a thread's CNode: its guard is 56 zero bits
UNKNOWN = -1000
REPLY_LABEL_STOP = 1
SYSCALL_MESSAGE = "rax rbx rcx rdx rsi rdi rbp r8 r9 r10 r11 r12 r13 r14 r15 rip rsp rflags".split()


def reply(machine: Machine, words: tuple[int, ...] = (), label: int = 0) -> None:
    """The initial task's reply to the fault that it received last."""
    got(machine.root.syscall(Syscall.SEND, machine.root.reply, words=words, label=label))


def set_registers(machine: Machine, thread: Thread, **values: int) -> None:
    words = [0] * abi.REGISTERS
    for name, value in values.items():
        words[abi.REGISTER_NAMES.index(name)] = value
    machine.root.call(thread.cap, Label.TCB_WRITE_REGISTERS, (0, abi.REGISTERS, *words))


def registers(machine: Machine, thread: Thread) -> dict[str, int]:
    words = machine.root.call(thread.cap, Label.TCB_READ_REGISTERS, (0, abi.REGISTERS))
    return dict(zip(abi.REGISTER_NAMES, words, strict=True))


def unknown_syscall(machine: Machine) -> tuple[Thread, Completion]:
    """A thread that has made system call -1000 with four words, and the message about it."""
    thread, endpoint = faulting(machine)
    set_registers(machine, thread, rip=3, rbx=0xB, rcx=0xC, rbp=0xBB, r11=0x11, r14=0x14, rsp=0x5, rflags=0x2)
    assert thread.syscall(UNKNOWN, 77, abi.message_info(5, 4), (20, 21, 22, 23), reply=12, dest=13) is None
    return thread, got(next_fault(machine, endpoint))


def test_FAULT0001_cap_fault_of_a_send(machine: Machine) -> None:
    """A CapFault tells instruction pointer, address, phase 0, and the look-up failure with its description."""
    thread, endpoint = faulting(machine)
    set_registers(machine, thread, rip=9)
    assert send(thread, cptr=BAD) is None
    fault = got(next_fault(machine, endpoint))
    assert fault.label == FaultLabel.CAP_FAULT
    assert fault.words == (9, BAD, 0, LookupFailureKind.GUARD_MISMATCH, 64, 0, 56)


def test_FAULT0002_cap_fault_of_a_receive(machine: Machine) -> None:
    """A CapFault of a receive has phase 1."""
    thread, endpoint = faulting(machine)
    assert receive(thread, BAD) is None
    fault = got(next_fault(machine, endpoint))
    assert fault.words == (0, BAD, 1, LookupFailureKind.GUARD_MISMATCH, 64, 0, 56)


@pytest.mark.parametrize("op", [Syscall.SEND, Syscall.CALL])
def test_FAULT0003_empty_slot_is_no_fault(machine: Machine, op: int) -> None:
    """Invoking an empty slot is no fault: a Call gets InvalidCapability(0), a Send nothing."""
    thread, endpoint = faulting(machine)
    done = got(thread.syscall(op, FREE))
    assert (done.label, done.words) == ((Error.INVALID_CAPABILITY, (0,)) if op == Syscall.CALL else (0, ()))
    assert got(next_fault(machine, endpoint)).badge == 0


def test_FAULT0004_reply_restarts_a_cap_fault(machine: Machine) -> None:
    """The reply to a CapFault carries the system call out again: with the capability in place it goes through."""
    thread, endpoint = faulting(machine)
    notification = machine.retype(ObjectType.NOTIFICATION)
    assert thread.syscall(Syscall.WAIT, FREE) is None
    got(next_fault(machine, endpoint))
    machine.grant(thread, notification, FREE)
    reply(machine)
    assert thread.state is ThreadState.BLOCKED_ON_NOTIFICATION
    send(machine.root, cptr=machine.copy(notification, badge=4))
    assert got(thread.completion()).badge == 4


@pytest.mark.parametrize("label", [0, REPLY_LABEL_STOP])
def test_FAULT0005_cap_fault_always_restarts(machine: Machine, label: int) -> None:
    """The reply to a CapFault restarts whatever its label: without the capability the thread faults again."""
    thread, endpoint = faulting(machine)
    assert thread.syscall(Syscall.WAIT, FREE) is None
    for _ in range(3):
        assert got(next_fault(machine, endpoint)).words[1] == FREE
        reply(machine, label=label)
    assert thread.state is ThreadState.BLOCKED_ON_SEND


def test_FAULT0006_unknown_syscall_message(machine: Machine) -> None:
    """An UnknownSyscall message has nineteen words: the registers in seL4's order, and the system call's number."""
    _, fault = unknown_syscall(machine)
    assert fault.label == FaultLabel.UNKNOWN_SYSCALL
    words = dict(zip([*SYSCALL_MESSAGE, "syscall"], fault.words, strict=True))
    assert words["syscall"] == words["rdx"] == UNKNOWN & abi.WORD_MASK
    assert (words["rdi"], words["rsi"]) == (77, abi.message_info(5, 4))
    assert [words[name] for name in ("r10", "r8", "r9", "r15")] == [20, 21, 22, 23]
    assert [words[name] for name in ("r12", "r13")] == [12, 13]
    assert [words[name] for name in ("rbx", "rcx", "rbp", "r11", "r14")] == [0xB, 0xC, 0xBB, 0x11, 0x14]
    assert [words[name] for name in ("rip", "rsp", "rflags")] == [3, 5, 2]


def test_FAULT0007_unknown_syscall_reply(machine: Machine) -> None:
    """A reply with label 0 writes its words back to the registers and lets the thread go on, RAX its result."""
    thread, _ = unknown_syscall(machine)
    reply(machine, (0xAA, 0xBB, 0xCC))
    assert got(thread.completion()).words == (0xAA,)
    after = registers(machine, thread)
    assert [after[name] for name in ("rax", "rbx", "rcx", "rbp")] == [0xAA, 0xBB, 0xCC, 0xBB]


@pytest.mark.parametrize("length", [0, 1, 18, 19, 120])
def test_FAULT0008_unknown_syscall_reply_length(machine: Machine, length: int) -> None:
    """Of the reply to an UnknownSyscall at most eighteen words are written back, and no more than were sent."""
    thread, _ = unknown_syscall(machine)
    reply(machine, tuple(range(100, 100 + length)))
    after = registers(machine, thread)
    written = [after[name] == 100 + SYSCALL_MESSAGE.index(name) for name in ("rax", "rbx", "rcx", "rbp", "r14")]
    assert written == [SYSCALL_MESSAGE.index(name) < length for name in ("rax", "rbx", "rcx", "rbp", "r14")]
    assert (after["rflags"] == 117) == (length >= 18)


def test_FAULT0009_unknown_syscall_refused(machine: Machine) -> None:
    """A reply with another label than 0 leaves the thread Inactive."""
    thread, _ = unknown_syscall(machine)
    reply(machine, label=REPLY_LABEL_STOP)
    assert thread.state is ThreadState.INACTIVE
    assert thread.completion() is None


def test_FAULT0010_user_exception_message(machine: Machine) -> None:
    """A UserException message has five words: FaultIP, SP, FLAGS, Number, Code."""
    thread, endpoint = faulting(machine)
    set_registers(machine, thread, rip=7, rsp=8, rflags=9)
    machine.died(thread, 0x0B00)
    fault = got(next_fault(machine, endpoint))
    assert fault.label == FaultLabel.USER_EXCEPTION
    assert fault.words == (7, 8, 9, ExceptionNumber.DEATH, 0x0B00)


def test_FAULT0011_user_exception_reply(machine: Machine) -> None:
    """A reply with label 0 writes FaultIP, SP and FLAGS back and lets the thread run; other labels leave it Inactive."""
    thread, endpoint = faulting(machine)
    machine.died(thread, 9)
    got(next_fault(machine, endpoint))
    reply(machine, (17, 18, 19, 20, 21))
    after = registers(machine, thread)
    assert [after[name] for name in ("rip", "rsp", "rflags", "rax")] == [17, 18, 19, 0]
    assert thread.state is ThreadState.RUNNING
    machine.died(thread, 9)
    got(next_fault(machine, endpoint))
    reply(machine, label=REPLY_LABEL_STOP)
    assert thread.state is ThreadState.INACTIVE


def test_FAULT0012_no_handler(machine: Machine) -> None:
    """A thread without a fault handler that faults becomes Inactive."""
    thread = machine.thread("faulter")
    assert send(thread, cptr=BAD) is None
    assert thread.state is ThreadState.INACTIVE


def test_FAULT0013_handler_gone(machine: Machine) -> None:
    """A thread whose handler capability was revoked becomes Inactive at its fault."""
    thread, endpoint = faulting(machine)
    machine.revoke(endpoint)
    assert send(thread, cptr=BAD) is None
    assert thread.state is ThreadState.INACTIVE
    assert not is_empty(machine, endpoint)


@pytest.mark.parametrize("rights", range(16))
def test_FAULT0014_handler_rights(machine: Machine, rights: int) -> None:
    """A fault handler needs Write, and Grant or GrantReply: other capabilities are refused when they are set."""
    limited = machine.copy(machine.retype(ObjectType.ENDPOINT), rights)
    good = bool(rights & Rights.WRITE and rights & (Rights.GRANT | Rights.GRANT_REPLY))
    thread = machine.thread("thread")
    error = machine.root.invoke(thread.cap, Label.TCB_SET_TIMEOUT_ENDPOINT, (), [limited])
    assert error == ((Error.NO_ERROR, ()) if good else (Error.INVALID_CAPABILITY, (1,)))
    caps = [limited, thread.cnode, InitialSlot.VSPACE]
    error = machine.root.invoke(thread.cap, Label.TCB_SET_SPACE, (0, 0), caps)
    assert error == ((Error.NO_ERROR, ()) if good else (Error.INVALID_CAPABILITY, (1,)))


def test_FAULT0015_badge_names_the_faulter(machine: Machine) -> None:
    """The handler gets the badge of the capability that was set for the thread."""
    thread, endpoint = faulting(machine, badge=44)
    assert send(thread, cptr=BAD) is None
    assert got(next_fault(machine, endpoint)).badge == 44


def test_FAULT0016_handler_is_a_copy(machine: Machine) -> None:
    """The TCB keeps a copy of the handler capability: that it was set from may go."""
    endpoint = machine.retype(ObjectType.ENDPOINT)
    handler = machine.copy(endpoint)
    thread = machine.thread("faulter", fault_endpoint=handler)
    machine.delete(handler)
    assert send(thread, cptr=BAD) is None
    assert got(next_fault(machine, endpoint)).label == FaultLabel.CAP_FAULT


def test_FAULT0017_waits_like_a_call(machine: Machine) -> None:
    """A faulting thread waits for its handler to receive, and then for the reply."""
    thread, endpoint = faulting(machine)
    assert thread.syscall(UNKNOWN) is None
    assert thread.state is ThreadState.BLOCKED_ON_SEND
    got(next_fault(machine, endpoint))
    assert thread.state is ThreadState.BLOCKED_ON_REPLY


def test_FAULT0018_handler_without_reply_object(machine: Machine) -> None:
    """A fault taken by a Wait, which brings no reply object, leaves the thread Inactive."""
    thread, endpoint = faulting(machine)
    handler = machine.thread("handler")
    machine.grant(handler, endpoint, ENDPOINT)
    assert handler.syscall(Syscall.WAIT, ENDPOINT) is None
    assert thread.syscall(UNKNOWN) is None
    assert got(handler.completion()).label == FaultLabel.UNKNOWN_SYSCALL
    assert thread.state is ThreadState.INACTIVE


def test_FAULT0019_waiting_handler(machine: Machine) -> None:
    """A handler that waits gets the fault at once, and its reply lets the thread go on."""
    thread, endpoint = faulting(machine)
    handler = machine.thread("handler")
    machine.grant(handler, endpoint, ENDPOINT)
    assert receive(handler) is None
    assert thread.syscall(UNKNOWN) is None
    assert len(got(handler.completion()).words) == 19
    answer(handler, (5,))
    assert got(thread.completion()).words == (5,)


def test_FAULT0020_resume_instead_of_reply(machine: Machine) -> None:
    """A thread that waits for its fault's reply can be resumed: the fault is forgotten, the system call starts again."""
    thread, endpoint = faulting(machine)
    notification = machine.retype(ObjectType.NOTIFICATION)
    assert thread.syscall(Syscall.SEND, BAD) is None
    got(next_fault(machine, endpoint))
    machine.grant(thread, notification, FREE, badge=1)
    machine.root.call(thread.cap, Label.TCB_RESUME)
    assert got(next_fault(machine, endpoint)).words[1] == BAD
    assert poll(machine, notification) == 0


def test_FAULT0021_suspended_faulter(machine: Machine) -> None:
    """Suspending a thread that waits for its fault's reply makes the reply go nowhere."""
    thread, endpoint = faulting(machine)
    assert thread.syscall(UNKNOWN) is None
    got(next_fault(machine, endpoint))
    machine.root.call(thread.cap, Label.TCB_SUSPEND)
    reply(machine, (1,))
    assert thread.state is ThreadState.INACTIVE


def test_FAULT0022_handler_faults_too(machine: Machine) -> None:
    """A handler that faults is told to its own handler, and the first thread goes on waiting."""
    thread, endpoint = faulting(machine)
    second = machine.retype(ObjectType.ENDPOINT)
    handler = machine.thread("handler", fault_endpoint=second)
    machine.grant(handler, endpoint, ENDPOINT)
    assert receive(handler) is None
    assert thread.syscall(UNKNOWN) is None
    got(handler.completion())
    assert send(handler, cptr=BAD) is None
    assert got(next_fault(machine, second)).label == FaultLabel.CAP_FAULT
    assert thread.state is ThreadState.BLOCKED_ON_REPLY


def test_FAULT0023_faults_queue_by_priority(machine: Machine) -> None:
    """Faults wait at the handler's endpoint in the order of the threads' priorities, among other messages."""
    endpoint = machine.retype(ObjectType.ENDPOINT)
    for priority in (50, 90, 70):
        thread = machine.thread("faulter", priority=priority, fault_endpoint=machine.copy(endpoint, badge=priority))
        assert send(thread, cptr=BAD) is None
    assert [got(next_fault(machine, endpoint)).badge for _ in range(3)] == [90, 70, 50]


def test_FAULT0024_handler_taken_away(machine: Machine) -> None:
    """A fault endpoint set to the null capability takes the handler away."""
    thread, endpoint = faulting(machine)
    set_root(machine, thread, thread.cnode, 0, 56, InitialSlot.NULL)
    assert send(thread, cptr=BAD) is None
    assert thread.state is ThreadState.INACTIVE
    assert got(next_fault(machine, endpoint)).badge == 0


def test_FAULT0025_endpoint_destroyed(machine: Machine) -> None:
    """A thread whose fault message waits at an endpoint that is destroyed becomes Inactive."""
    memory = machine.retype(ObjectType.UNTYPED, 4)
    endpoint = machine.retype(ObjectType.ENDPOINT, untyped=memory)
    thread = machine.thread("faulter", fault_endpoint=endpoint)
    assert thread.syscall(UNKNOWN) is None
    assert thread.state is ThreadState.BLOCKED_ON_SEND
    machine.revoke(memory)
    assert thread.state is ThreadState.INACTIVE


def test_FAULT0026_reply_object_address(machine: Machine) -> None:
    """The reply phase of ReplyRecv never faults; its receive phase does, at the address that is wrong."""
    thread, endpoint = faulting(machine)
    machine.grant(thread, machine.retype(ObjectType.ENDPOINT), ENDPOINT)
    assert thread.syscall(Syscall.REPLY_RECV, ENDPOINT, reply=BAD) is None
    assert got(next_fault(machine, endpoint)).words[1:4] == (BAD, 1, LookupFailureKind.GUARD_MISMATCH)


def test_FAULT0027_call_after_fault(machine: Machine) -> None:
    """A thread that was let go after a fault makes system calls as before."""
    thread, endpoint = faulting(machine)
    assert thread.syscall(UNKNOWN) is None
    got(next_fault(machine, endpoint))
    reply(machine, (1,))
    got(thread.completion())
    assert got(call(thread, cptr=FREE)).label == Error.INVALID_CAPABILITY


def test_TIMEOUTFAULT0001_handler_is_kept_apart(machine: Machine) -> None:
    """The timeout endpoint does not get other faults."""
    thread = machine.thread("faulter")
    timeout = machine.retype(ObjectType.ENDPOINT)
    machine.root.call(thread.cap, Label.TCB_SET_TIMEOUT_ENDPOINT, (), [timeout])
    assert thread.syscall(UNKNOWN, reply=OWN_REPLY) is None
    assert thread.state is ThreadState.INACTIVE
    assert got(next_fault(machine, timeout)).badge == 0
