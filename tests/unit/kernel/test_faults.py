"""Faults: what the handler is told, what its reply does, and what happens without one (SEL4_API 2.4)."""

import struct

import pytest

from hw import ring
from kerneld import faults, scheduler
from kerneld.failures import Fault
from kerneld.outbox import Tell
from kerneld.records import ProcessState, TcbSlot, ThreadState, VSpace
from libsel4py import abi
from libsel4py.abi import ExceptionNumber, FaultLabel, InitialSlot, Label, ObjectType, Rights, Syscall
from tests.harness import OWN_REPLY, Thread

from .scene import ENDPOINT, OTHER, Scene, message, receive, reply, reply_receive

NOWHERE = 1 << 60  # an address that no thread's guard matches
UNKNOWN = -99


class Faulting:
    """A thread with a fault handler that waits. The handler's capability has badge 5."""

    def __init__(self, rights: int = Rights.ALL) -> None:
        self.scene = Scene()
        self.faults = self.scene.machine.copy(self.scene.endpoint, rights, badge=5)
        self.handler = self.scene.thread("handler")
        self.thread = self.scene.thread("thread", fault_endpoint=self.faults)
        with self.scene.machine.ram.transaction():
            self.thread.tcb.rip = 77
        assert receive(self.handler) is None

    def told(self) -> tuple[int, tuple[int, ...]]:
        badge, label, words = message(self.handler.completion())
        assert badge == 5
        assert self.thread.state is ThreadState.BLOCKED_ON_REPLY
        return label, words

    def raise_fault(self, fault: Fault) -> None:
        """A fault that comes from outside of a system call."""
        machine = self.scene.machine
        with machine.ram.transaction():
            faults.raise_fault(machine.kernel.core, self.thread.tcb, fault)
            scheduler.settle(machine.kernel.core)
        assert machine.root.syscall(Syscall.YIELD) is not None  # so that the host carries out what it was told


# --- CAP_FAULT


def test_a_failed_look_up_of_the_invoked_capability() -> None:
    case = Faulting()
    assert case.thread.syscall(Syscall.SEND, NOWHERE) is None
    guard_size = abi.WORD_BITS - 8
    assert case.told() == (FaultLabel.CAP_FAULT, (77, NOWHERE, 0, 4, 64, 0, guard_size))


def test_a_failed_look_up_of_the_receive_capability() -> None:
    case = Faulting()
    assert case.thread.syscall(Syscall.RECV, 99, reply=OWN_REPLY) is None
    assert case.told() == (FaultLabel.CAP_FAULT, (77, 99, 1, 2, 0))


def test_a_capability_space_that_is_none() -> None:
    case = Faulting()
    scene, thread = case.scene, case.thread
    with scene.machine.ram.transaction():
        slot = thread.tcb.slot(TcbSlot.CSPACE)
        word0 = slot.word0
        slot.word0 = 0
    scene.machine.check = False
    assert thread.syscall(Syscall.SEND, 3) is None
    assert case.told() == (FaultLabel.CAP_FAULT, (77, 3, 0, 1))
    with scene.machine.ram.transaction():
        slot.word0 = word0


@pytest.mark.parametrize("label", [0, 1])
def test_a_cap_fault_restarts_the_system_call_whatever_the_reply_says(label: int) -> None:
    case = Faulting()
    notification = case.scene.machine.retype(ObjectType.NOTIFICATION)
    assert case.thread.syscall(Syscall.WAIT, OTHER) is None
    case.told()
    case.scene.machine.grant(case.thread, notification, OTHER)
    assert reply_receive(case.handler, label=label) is None
    assert case.thread.state is ThreadState.BLOCKED_ON_NOTIFICATION
    case.scene.machine.root.syscall(Syscall.SEND, notification)
    assert case.thread.completion() is not None


def test_a_cap_fault_that_is_not_cured_faults_again() -> None:
    case = Faulting()
    case.thread.syscall(Syscall.WAIT, OTHER)
    first = case.told()
    assert message(reply_receive(case.handler)) == (5, *first)


def test_extra_capabilities_fault_with_their_own_address() -> None:
    case = Faulting()
    assert case.thread.syscall(Syscall.CALL, ENDPOINT, caps=(OWN_REPLY, NOWHERE)) is None
    label, words = case.told()
    assert (label, words[1:3]) == (FaultLabel.CAP_FAULT, (NOWHERE, 0))


# --- UNKNOWN_SYSCALL


def unknown_syscall(case: Faulting) -> tuple[int, ...]:
    assert case.thread.syscall(UNKNOWN, 3, 4, (10, 11, 12, 13), reply=14, dest=15) is None
    label, words = case.told()
    assert label == FaultLabel.UNKNOWN_SYSCALL
    return words


def test_an_unknown_system_call_is_told_with_its_arguments() -> None:
    words = unknown_syscall(Faulting())
    names = [
        "rax",
        "rbx",
        "rcx",
        "rdx",
        "rsi",
        "rdi",
        "rbp",
        "r8",
        "r9",
        "r10",
        "r11",
        "r12",
        "r13",
        "r14",
        "r15",
        "ip",
        "sp",
        "flags",
        "syscall",
    ]
    assert len(words) == len(names) == 19
    found = dict(zip(names, words, strict=True))
    number = UNKNOWN & abi.WORD_MASK
    expected = {"rdx": number, "syscall": number, "rsi": 4, "rdi": 3, "ip": 77}
    expected |= {"r10": 10, "r8": 11, "r9": 12, "r15": 13, "r12": 14, "r13": 15}
    assert found == dict.fromkeys(names, 0) | expected


def test_the_handler_can_carry_an_unknown_system_call_out() -> None:
    case = Faulting()
    words = list(unknown_syscall(case))
    words[0], words[15] = 1234, 78
    assert reply_receive(case.handler, words[:18]) is None
    assert message(case.thread.completion()) == (0, 0, (1234,))
    assert (case.thread.state, case.thread.tcb.rip) == (ThreadState.RUNNING, 78)
    assert case.thread.syscall(Syscall.YIELD) is not None


def test_a_short_reply_writes_few_registers() -> None:
    case = Faulting()
    unknown_syscall(case)
    reply_receive(case.handler, (9,))
    assert message(case.thread.completion()) == (0, 0, (9,))
    assert case.thread.tcb.rip == 77


def test_a_reply_with_a_label_leaves_the_thread_stopped_until_it_is_resumed() -> None:
    case = Faulting()
    unknown_syscall(case)
    assert reply_receive(case.handler, label=1) is None
    assert (case.thread.state, case.thread.completion()) == (ThreadState.INACTIVE, None)
    case.scene.resume(case.thread)
    label, _ = case.told()
    assert label == FaultLabel.UNKNOWN_SYSCALL


# --- USER_EXCEPTION


def test_the_death_of_a_process_is_told_and_a_reply_starts_it_anew() -> None:
    case = Faulting()
    machine = case.scene.machine
    machine.died(case.thread, 9)
    assert case.told() == (FaultLabel.USER_EXCEPTION, (77, 0, 0, ExceptionNumber.DEATH, 9))
    assert case.thread.tcb.process == ProcessState.NONE
    starts = len(machine.told(Tell.START))
    reply_receive(case.handler, (80, 0, 0))
    assert (case.thread.state, case.thread.tcb.process) == (ThreadState.RUNNING, ProcessState.LIVE)
    assert (len(machine.told(Tell.START)), case.thread.tcb.rip) == (starts + 1, 80)
    assert case.thread.syscall(Syscall.YIELD) is not None


def test_with_a_process_goes_that_it_had_its_share_of_what_the_host_has() -> None:
    case = Faulting()
    machine = case.scene.machine
    space = VSpace(machine.ram, case.thread.tcb.slot(TcbSlot.VSPACE).object)
    machine.kernel.limit(space.address, True)
    machine.died(case.thread, 9)
    assert not space.limited


def test_the_death_of_a_process_ends_what_its_thread_waited_for() -> None:
    case = Faulting()
    other = case.scene.machine.retype(ObjectType.ENDPOINT)
    case.scene.machine.grant(case.thread, other, OTHER)
    assert receive(case.thread, OTHER) is None
    case.scene.machine.died(case.thread, 0)
    assert case.told()[0] == FaultLabel.USER_EXCEPTION
    assert case.thread.tcb.in_trap == 0


def test_the_rest_of_a_dead_process_s_ring_is_not_looked_at() -> None:
    case = Faulting()
    case.thread.submit(Syscall.SEND, ENDPOINT)
    case.scene.machine.died(case.thread, 9)
    case.scene.machine.run()
    assert case.told()[0] == FaultLabel.USER_EXCEPTION
    assert case.thread.tcb.consumed == 0


def test_exit_tells_once() -> None:
    case = Faulting()
    assert case.thread.syscall(Syscall.EXIT, words=(3,)) is None
    assert case.told() == (FaultLabel.USER_EXCEPTION, (77, 0, 0, ExceptionNumber.DEATH, 3 << 8))
    case.scene.machine.died(case.thread, 3 << 8)
    assert receive(case.handler) is None
    assert case.thread.state is ThreadState.INACTIVE  # its reply object was used again
    case.scene.resume(case.thread)
    assert case.thread.tcb.process == ProcessState.LIVE


def overrun(case: Faulting, index: int) -> None:
    frame = case.thread.tcb.trap_frame
    case.scene.machine.ram.poke(frame + abi.SUBMIT_PRODUCED, struct.pack("<I", index))
    case.scene.machine.run()


def test_an_impossible_ring_index_is_told_and_skipped_by_a_reply() -> None:
    case = Faulting()
    overrun(case, 5000)
    assert case.told() == (FaultLabel.USER_EXCEPTION, (77, 0, 0, ExceptionNumber.RING_OVERRUN, 5000))
    case.scene.machine.run()
    reply_receive(case.handler)
    assert case.thread.tcb.consumed == 5000
    assert ring.take(case.scene.machine.ram, case.thread.tcb.trap_frame, 5000) is None
    assert case.thread.state is ThreadState.RUNNING
    assert case.thread.syscall(Syscall.YIELD) is not None


def test_an_impossible_ring_index_stops_a_thread_without_handler() -> None:
    scene = Scene()
    thread = scene.thread("thread")
    scene.machine.ram.poke(thread.tcb.trap_frame + abi.SUBMIT_PRODUCED, struct.pack("<I", 1 << 31))
    scene.machine.run()
    assert thread.state is ThreadState.INACTIVE


def test_other_exceptions_go_on_or_stop_by_the_label() -> None:
    for label, state in ((0, ThreadState.RUNNING), (1, ThreadState.INACTIVE)):
        case = Faulting()
        words = (0, 0, ExceptionNumber.DIVIDE_ERROR, 0)
        case.raise_fault(Fault(FaultLabel.USER_EXCEPTION, words))
        assert case.told() == (FaultLabel.USER_EXCEPTION, (77, *words))
        reply_receive(case.handler, label=label)
        assert case.thread.state is state


# --- TIMEOUT (VM_FAULT: test_vm_fault.py)


def test_a_timeout_goes_to_its_own_handler_and_lends_nothing() -> None:
    case = Faulting()
    case.raise_fault(Fault(FaultLabel.TIMEOUT, (8, 400)))
    assert case.thread.state is ThreadState.INACTIVE
    case.scene.resume(case.thread)
    case.scene.machine.root.call(case.thread.cap, Label.TCB_SET_TIMEOUT_ENDPOINT, (), [case.faults])
    case.scene.machine.root.call(case.handler.sched_context, Label.SCHED_CONTEXT_UNBIND)
    case.raise_fault(Fault(FaultLabel.TIMEOUT, (8, 400)))
    assert case.handler.tcb.sched_context is None
    case.scene.machine.root.call(case.handler.sched_context, Label.SCHED_CONTEXT_BIND, (), [case.handler.cap])
    assert case.told() == (FaultLabel.TIMEOUT, (8, 400))
    registers = tuple(range(200, 219))
    reply_receive(case.handler, registers)
    read = case.scene.machine.root.call(case.thread.cap, Label.TCB_READ_REGISTERS, (0, 20))
    assert (read, case.thread.state) == ((*registers, 0), ThreadState.RUNNING)


# --- without a handler, and ends from outside


def test_without_a_handler_the_thread_stops() -> None:
    scene = Scene()
    thread = scene.thread("thread")
    assert thread.syscall(Syscall.SEND, NOWHERE) is None
    assert thread.state is ThreadState.INACTIVE
    assert thread.tcb.fault_label == FaultLabel.NULL_FAULT


def test_a_fault_is_a_call_that_waits_for_the_handler() -> None:
    scene = Scene()
    handler, busy = scene.thread("handler"), scene.machine.copy(scene.endpoint, badge=5)
    thread = scene.thread("thread", fault_endpoint=busy)
    thread.syscall(Syscall.SEND, NOWHERE)
    assert thread.state is ThreadState.BLOCKED_ON_SEND
    assert message(receive(handler))[1] == FaultLabel.CAP_FAULT
    assert thread.state is ThreadState.BLOCKED_ON_REPLY
    reply(handler)
    assert thread.state is ThreadState.BLOCKED_ON_SEND  # it faults again


def test_a_handler_without_reply_object_leaves_the_thread_stopped() -> None:
    scene = Scene()
    handler = scene.thread("handler")
    thread = scene.thread("thread", fault_endpoint=scene.endpoint)
    assert handler.syscall(Syscall.WAIT, ENDPOINT) is None
    thread.syscall(Syscall.SEND, NOWHERE)
    assert message(handler.completion())[1] == FaultLabel.CAP_FAULT
    assert thread.state is ThreadState.INACTIVE


def test_a_passive_handler_runs_on_the_faulting_thread_s_context() -> None:
    case = Faulting()
    context = case.thread.tcb.sched_context
    case.scene.machine.root.call(case.handler.sched_context, Label.SCHED_CONTEXT_UNBIND)
    case.thread.syscall(UNKNOWN)
    assert case.handler.tcb.sched_context == context
    case.told()
    reply_receive(case.handler, (1,))
    assert (case.thread.tcb.sched_context, case.handler.tcb.sched_context) == (context, None)
    assert message(case.thread.completion()) == (0, 0, (1,))


def test_resume_ends_a_fault_and_tries_again() -> None:
    case = Faulting()
    case.thread.syscall(Syscall.WAIT, OTHER)
    case.told()
    case.scene.machine.grant(case.thread, case.scene.machine.retype(ObjectType.NOTIFICATION), OTHER)
    case.scene.resume(case.thread)
    assert case.thread.state is ThreadState.BLOCKED_ON_NOTIFICATION
    assert case.thread.tcb.fault_label == FaultLabel.NULL_FAULT


def test_a_thread_cannot_cancel_its_own_fault() -> None:
    case = Faulting()
    case.thread.syscall(Syscall.SEND, NOWHERE)
    case.thread.submit(Syscall.CANCEL)
    case.scene.machine.run()
    assert case.told()[0] == FaultLabel.CAP_FAULT
    assert case.thread.completion() is None


def test_a_handler_that_receives_by_registers_alone_gets_four_words() -> None:
    scene = Scene()
    handler = scene.thread("handler")
    thread = scene.thread("thread", fault_endpoint=scene.endpoint)
    assert handler.syscall(Syscall.RECV, ENDPOINT, reply=OWN_REPLY, inline=True) is None
    thread.syscall(Syscall.SEND, NOWHERE)
    assert message(handler.completion())[2] == (0, NOWHERE, 0, 4)


def test_a_fault_is_remembered_for_people_who_ask() -> None:
    case = Faulting()
    case.thread.syscall(Syscall.SEND, NOWHERE)
    refusal = case.scene.machine.kernel.core.diagnostics.refusals[case.thread.tcb.address]
    assert (refusal.cptr, type(refusal.failure)) == (NOWHERE, Fault)


def test_faults_of_the_initial_task_without_handler_stop_it() -> None:
    scene = Scene()
    root: Thread = scene.machine.root
    assert root.tcb.slot(TcbSlot.FAULT_HANDLER).cap_type == InitialSlot.NULL
    assert root.syscall(UNKNOWN) is None
    assert root.state is ThreadState.INACTIVE
