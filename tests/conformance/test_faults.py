"""Faults: their messages, what a reply does, and what happens without a good handler (manual 6.2; SEL4_API 2.4)."""

from __future__ import annotations

import pytest

from kerneld.records import ThreadState
from libsel4py import abi
from libsel4py.abi import (
    Error,
    ExceptionNumber,
    FaultLabel,
    LookupFailureKind,
    ObjectType,
    Syscall,
)
from tests.conformance.scenes import (
    BAD,
    ENDPOINT,
    FREE,
    UNKNOWN_SYSCALL,
    faulting,
    got,
    next_fault,
    read_registers,
    receive,
    reply_to_fault,
    send,
    write_registers,
)
from tests.harness import Completion, Machine, Thread

REPLY_LABEL_STOP = 1
SYSCALL_MESSAGE = tuple("rax rbx rcx rdx rsi rdi rbp r8 r9 r10 r11 r12 r13 r14 r15 rip rsp rflags".split())  # noqa: SIM905


def set_registers(thread: Thread, **values: int) -> None:
    words = [0] * abi.REGISTERS
    for name, value in values.items():
        words[abi.REGISTER_NAMES.index(name)] = value
    write_registers(thread, words)


def registers(thread: Thread) -> dict[str, int]:
    return dict(zip(abi.REGISTER_NAMES, read_registers(thread), strict=True))


def unknown_syscall(machine: Machine) -> tuple[Thread, Completion]:
    """A thread that has made system call -1000 with four words, and the message about it."""
    thread, endpoint = faulting(machine)
    set_registers(thread, rip=3, rbx=0xB, rcx=0xC, rbp=0xBB, r11=0x11, r14=0x14, rsp=0x5, rflags=0x2)
    assert thread.syscall(UNKNOWN_SYSCALL, 77, abi.message_info(5, 4), (20, 21, 22, 23), reply=12, dest=13) is None
    return thread, got(next_fault(machine, endpoint))


def test_FAULT0001_cap_fault_of_a_send(machine: Machine) -> None:
    """A CapFault tells instruction pointer, address, phase 0, and the look-up failure with its description."""
    thread, endpoint = faulting(machine)
    set_registers(thread, rip=9)
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
    reply_to_fault(machine)
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
        reply_to_fault(machine, label=label)
    assert thread.state is ThreadState.BLOCKED_ON_SEND


def test_FAULT0006_unknown_syscall_message(machine: Machine) -> None:
    """An UnknownSyscall message has nineteen words: the registers in seL4's order, and the system call's number."""
    _, fault = unknown_syscall(machine)
    assert fault.label == FaultLabel.UNKNOWN_SYSCALL
    words = dict(zip([*SYSCALL_MESSAGE, "syscall"], fault.words, strict=True))
    assert words["syscall"] == words["rdx"] == UNKNOWN_SYSCALL & abi.WORD_MASK
    assert (words["rdi"], words["rsi"]) == (77, abi.message_info(5, 4))
    assert [words[name] for name in ("r10", "r8", "r9", "r15")] == [20, 21, 22, 23]
    assert [words[name] for name in ("r12", "r13")] == [12, 13]
    assert [words[name] for name in ("rbx", "rcx", "rbp", "r11", "r14")] == [0xB, 0xC, 0xBB, 0x11, 0x14]
    assert [words[name] for name in ("rip", "rsp", "rflags")] == [3, 5, 2]


def test_FAULT0007_unknown_syscall_reply(machine: Machine) -> None:
    """A reply with label 0 writes its words back to the registers and lets the thread go on, RAX its result."""
    thread, _ = unknown_syscall(machine)
    reply_to_fault(machine, (0xAA, 0xBB, 0xCC))
    assert got(thread.completion()).words == (0xAA,)
    after = registers(thread)
    assert [after[name] for name in ("rax", "rbx", "rcx", "rbp")] == [0xAA, 0xBB, 0xCC, 0xBB]


@pytest.mark.parametrize("length", [0, 1, 18, 19, 120])
def test_FAULT0008_unknown_syscall_reply_length(machine: Machine, length: int) -> None:
    """Of the reply to an UnknownSyscall at most eighteen words are written back, and no more than were sent."""
    thread, _ = unknown_syscall(machine)
    reply_to_fault(machine, tuple(range(100, 100 + length)))
    after = registers(thread)
    written = [after[name] == 100 + SYSCALL_MESSAGE.index(name) for name in ("rax", "rbx", "rcx", "rbp", "r14")]
    assert written == [SYSCALL_MESSAGE.index(name) < length for name in ("rax", "rbx", "rcx", "rbp", "r14")]
    assert (after["rflags"] == 117) == (length >= 18)


def test_FAULT0009_unknown_syscall_refused(machine: Machine) -> None:
    """A reply with another label than 0 leaves the thread Inactive."""
    thread, _ = unknown_syscall(machine)
    reply_to_fault(machine, label=REPLY_LABEL_STOP)
    assert thread.state is ThreadState.INACTIVE
    assert thread.completion() is None


def test_FAULT0010_user_exception_message(machine: Machine) -> None:
    """A UserException message has five words: FaultIP, SP, FLAGS, Number, Code."""
    thread, endpoint = faulting(machine)
    set_registers(thread, rip=7, rsp=8, rflags=9)
    machine.died(thread, 0x0B00)
    fault = got(next_fault(machine, endpoint))
    assert fault.label == FaultLabel.USER_EXCEPTION
    assert fault.words == (7, 8, 9, ExceptionNumber.DEATH, 0x0B00)


def test_FAULT0011_user_exception_reply(machine: Machine) -> None:
    """A reply with label 0 writes FaultIP, SP and FLAGS back and restarts the thread; others leave it Inactive."""
    thread, endpoint = faulting(machine)
    machine.died(thread, 9)
    got(next_fault(machine, endpoint))
    reply_to_fault(machine, (17, 18, 19, 20, 21))
    after = registers(thread)
    assert [after[name] for name in ("rip", "rsp", "rflags", "rax")] == [17, 18, 19, 0]
    assert thread.state is ThreadState.RUNNING
    machine.died(thread, 9)
    got(next_fault(machine, endpoint))
    reply_to_fault(machine, label=REPLY_LABEL_STOP)
    assert thread.state is ThreadState.INACTIVE


def test_FAULT0026_reply_object_address(machine: Machine) -> None:
    """The reply phase of ReplyRecv never faults; its receive phase does, at the address that is wrong."""
    thread, endpoint = faulting(machine)
    machine.grant(thread, machine.retype(ObjectType.ENDPOINT), ENDPOINT)
    assert thread.syscall(Syscall.REPLY_RECV, ENDPOINT, reply=BAD) is None
    assert got(next_fault(machine, endpoint)).words[1:4] == (BAD, 1, LookupFailureKind.GUARD_MISMATCH)
