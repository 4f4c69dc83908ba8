"""Threads: registers, priorities, spaces, suspend and resume (manual 6.1)."""

from __future__ import annotations

import pytest

from kerneld.outbox import Tell
from kerneld.records import ThreadState
from libsel4py import abi
from libsel4py.abi import Error, FaultLabel, InitialSlot, Label, ObjectType, Syscall
from tests.conformance.scenes import (
    ENDPOINT,
    FREE,
    UNKNOWN_SYSCALL,
    answer,
    call,
    faulting,
    got,
    next_fault,
    pair,
    poll,
    receive,
    resume,
    send,
    set_root,
    suspend,
    write_registers,
)
from tests.harness import OWN_TCB, Machine, Refused, Thread


@pytest.fixture
def thread(machine: Machine) -> Thread:
    return machine.thread("thread")


@pytest.mark.parametrize("label", [Label.TCB_SET_PRIORITY, Label.TCB_SET_MC_PRIORITY])
def test_TCB0010_authority(machine: Machine, label: Label) -> None:
    """Priority and MCP go up to the authority's MCP, whoever calls and whatever the target's own MCP is."""
    authority = machine.thread("authority", mcp=50, priority=10)
    target = machine.thread("target", mcp=5, priority=5)
    machine.root.call(target.cap, label, (50,), [authority.cap])
    with pytest.raises(Refused) as refused:
        machine.root.call(target.cap, label, (51,), [authority.cap])
    assert (refused.value.error, refused.value.words) == (Error.RANGE_ERROR, (0, 50))


def test_TCB0011_priority_and_mcp_are_two(machine: Machine, thread: Thread) -> None:
    """SetPriority leaves the MCP and SetMCPriority leaves the priority; the priority may be above the MCP."""
    machine.root.call(thread.cap, Label.TCB_SET_PRIORITY, (200,), [InitialSlot.TCB])
    machine.root.call(thread.cap, Label.TCB_SET_MC_PRIORITY, (3,), [InitialSlot.TCB])
    assert (thread.tcb.priority, thread.tcb.mcp) == (200, 3)


def test_TCB0012_own_mcp_is_lowered_for_good(machine: Machine, thread: Thread) -> None:
    """A thread that lowers its own MCP cannot raise it again by its own authority."""
    thread.call(OWN_TCB, Label.TCB_SET_MC_PRIORITY, (20,), [OWN_TCB])
    refused = thread.invoke(OWN_TCB, Label.TCB_SET_MC_PRIORITY, (21,), [OWN_TCB])
    assert refused == (Error.RANGE_ERROR, (0, 20))


def test_TCB0013_set_sched_params(machine: Machine) -> None:
    """SetSchedParams sets MCP, priority, scheduling context and fault endpoint at once."""
    thread = machine.thread("thread", passive=True)
    context = machine.sched_context()
    endpoint = machine.copy(machine.retype(ObjectType.ENDPOINT), badge=6)
    caps = [InitialSlot.TCB, context, endpoint]
    machine.root.call(thread.cap, Label.TCB_SET_SCHED_PARAMS, (30, 20), caps)
    assert (thread.tcb.mcp, thread.tcb.priority) == (30, 20)
    assert send(thread, cptr=1 << 60) is None
    assert thread.state is ThreadState.BLOCKED_ON_SEND


def test_TCB0014_sched_params_unbind(machine: Machine, thread: Thread) -> None:
    """SetSchedParams with the null capability for the scheduling context takes the thread's context away."""
    caps = [InitialSlot.TCB, InitialSlot.NULL, InitialSlot.NULL]
    machine.root.call(thread.cap, Label.TCB_SET_SCHED_PARAMS, (30, 20), caps)
    assert thread.tcb.sched_context is None
    assert thread.syscall(Syscall.YIELD) is None


def test_TCB0015_refusal_changes_nothing(machine: Machine, thread: Thread) -> None:
    """A SetSchedParams that is refused for its last argument has changed none of the others."""
    notification = machine.retype(ObjectType.NOTIFICATION)
    caps = [InitialSlot.TCB, InitialSlot.NULL, notification]
    refused = machine.root.invoke(thread.cap, Label.TCB_SET_SCHED_PARAMS, (30, 20), caps)
    assert refused == (Error.INVALID_CAPABILITY, (3,))
    assert (thread.tcb.mcp, thread.tcb.priority) == (100, 100)
    assert thread.tcb.sched_context is not None


def test_TCB0016_set_space(machine: Machine, thread: Thread) -> None:
    """After SetSpace the thread's addresses are resolved in the new capability space."""
    notification = machine.retype(ObjectType.NOTIFICATION)
    cnode = machine.retype(ObjectType.CNODE, 4)
    words = (5, 4, notification, 64, 15, 1)
    machine.root.call(cnode, Label.CNODE_MINT, words, [InitialSlot.CNODE])
    set_root(machine, thread, cnode, 0x12, 60, InitialSlot.NULL)
    got(send(thread, cptr=0x125))
    assert poll(machine, notification) == 1


def test_TCB0017_space_data_zero_keeps_the_guard(machine: Machine, thread: Thread) -> None:
    """SetSpace with data 0 takes the CNode capability with the guard that it has."""
    notification = machine.retype(ObjectType.NOTIFICATION)
    machine.grant(thread, notification, 5, badge=1)
    guarded = machine.copy(thread.cnode, badge=abi.cnode_cap_data(0x34, 56))
    caps = [InitialSlot.NULL, guarded, InitialSlot.VSPACE]
    machine.root.call(thread.cap, Label.TCB_SET_SPACE, (0, 0), caps)
    got(send(thread, cptr=0x3405))
    assert poll(machine, notification) == 1


def test_TCB0018_no_buffer(machine: Machine) -> None:
    """Configure with buffer address 0 leaves the thread without an IPC buffer and needs no frame capability."""
    tcb, cnode = machine.retype(ObjectType.TCB), machine.retype(ObjectType.CNODE, 4)
    caps = [cnode, InitialSlot.VSPACE, InitialSlot.NULL]
    machine.root.call(tcb, Label.TCB_CONFIGURE, (abi.cnode_cap_data(0, 60), 0, 0), caps)


def test_TCB0019_suspend_and_resume(machine: Machine, thread: Thread) -> None:
    """A suspended thread makes no system calls; resumed, it goes on with those that it has submitted."""
    suspend(thread)
    assert thread.syscall(Syscall.YIELD) is None
    resume(thread)
    got(thread.completion())


def test_TCB0020_resume_of_a_running_thread(machine: Machine) -> None:
    """Resume has no effect on a thread that runs, and none on the thread that calls it."""
    thread = machine.thread("thread")
    resume(thread)
    assert thread.state is ThreadState.RUNNING
    thread.call(OWN_TCB, Label.TCB_RESUME)
    assert thread.state is ThreadState.RUNNING


def test_TCB0021_suspend_twice(machine: Machine, thread: Thread) -> None:
    """Suspend of a suspended thread succeeds and changes nothing."""
    suspend(thread)
    suspend(thread)
    assert thread.state is ThreadState.INACTIVE


@pytest.mark.parametrize("op", [Syscall.SEND, Syscall.CALL])
def test_TCB0022_resumed_sender(machine: Machine, op: int) -> None:
    """A sender that is suspended and resumed sends its message again."""
    scene = pair(machine)
    assert scene.client.syscall(op, ENDPOINT, words=(1, 2)) is None
    suspend(scene.client)
    assert receive(scene.server) is None
    resume(scene.client)
    assert got(scene.server.completion()).words == (1, 2)


def test_TCB0023_resumed_receiver(machine: Machine) -> None:
    """A receiver that is suspended and resumed receives again, behind the others."""
    scene = pair(machine)
    assert receive(scene.server) is None
    assert receive(scene.client) is None
    suspend(scene.server)
    resume(scene.server)
    send(machine.root, (4,), scene.endpoint)
    assert got(scene.client.completion()).words == (4,)
    assert scene.server.state is ThreadState.BLOCKED_ON_RECEIVE


def test_TCB0024_resume_of_a_blocked_thread(machine: Machine) -> None:
    """Resume of a thread that is blocked, without a Suspend before, carries its system call out again as well."""
    scene = pair(machine)
    assert receive(scene.server) is None
    assert call(scene.client, (1,)) is None
    got(scene.server.completion())
    resume(scene.client)
    assert scene.client.state is ThreadState.BLOCKED_ON_SEND
    answer(scene.server, (9,))
    assert scene.client.completion() is None
    assert got(receive(scene.server)).words == (1,)


def test_TCB0025_suspended_thread_keeps_its_message(machine: Machine) -> None:
    """A thread that is suspended after its system call has completed finds the result when it is resumed."""
    scene = pair(machine)
    assert receive(scene.server) is None
    got(send(scene.client, (6,)))
    suspend(scene.server)
    resume(scene.server)
    assert got(scene.server.completion()).words == (6,)


def test_TCB0026_new_ipc_buffer(machine: Machine, thread: Thread) -> None:
    """After SetIPCBuffer messages of the thread go through the new frame."""
    frame = machine.retype(ObjectType.FRAME, abi.TRAP_FRAME_BITS)
    before = thread.tcb.trap_frame
    machine.root.call(thread.cap, Label.TCB_SET_IPC_BUFFER, (machine.slot(frame).object,), [frame])
    assert thread.tcb.trap_frame == machine.slot(frame).object != before
    assert [message.subject for message in machine.told(Tell.TRAP_FRAME)][-1] == thread.tcb.address
    thread.expected = 0
    got(thread.syscall(Syscall.YIELD))


def test_TCB0027_revoked_buffer(machine: Machine, thread: Thread) -> None:
    """A thread whose buffer's frame is revoked makes no system calls any more; a new buffer lets it go on."""
    frame = machine.retype(ObjectType.FRAME, abi.TRAP_FRAME_BITS)
    machine.root.call(thread.cap, Label.TCB_SET_IPC_BUFFER, (machine.slot(frame).object,), [frame])
    machine.revoke(frame)
    assert thread.tcb.trap_frame == 0
    machine.root.call(thread.cap, Label.TCB_SET_IPC_BUFFER, (machine.slot(frame).object,), [frame])
    thread.expected = 0
    got(thread.syscall(Syscall.YIELD))


def test_TCB0028_self_suspend(machine: Machine, thread: Thread) -> None:
    """A thread may suspend itself; another one resumes it."""
    assert thread.syscall(Syscall.CALL, OWN_TCB, Label.TCB_SUSPEND << 12) is None
    assert thread.state is ThreadState.INACTIVE
    resume(thread)
    assert got(thread.completion()).label == Error.NO_ERROR
    got(thread.syscall(Syscall.YIELD))


def test_THREADS0001_share_a_space(machine: Machine) -> None:
    """Two threads can share a capability space: what one puts there the other finds."""
    first, second = machine.thread("first"), machine.thread("second")
    set_root(machine, second, first.cnode, 0, 56, InitialSlot.NULL)
    notification = machine.retype(ObjectType.NOTIFICATION)
    machine.grant(first, notification, FREE, badge=1)
    got(send(second, cptr=FREE))
    assert poll(machine, notification) == 1


def test_THREADS0002_start_in_an_image(machine: Machine) -> None:
    """A thread that is resumed for the first time starts at its registers: the host is told to."""
    thread = machine.thread("thread", start=False)
    assert thread.tcb.address not in [message.subject for message in machine.told(Tell.START)]
    write_registers(thread, (3, 0, 0, 0, 0, 0, 0, 0, 42))
    resume(thread)
    assert machine.told(Tell.START)[-1].subject == thread.tcb.address


def test_THREADS0003_without_time_no_start(machine: Machine) -> None:
    """A resumed thread without a scheduling context does not start until it gets one."""
    thread = machine.thread("thread", passive=True)
    assert thread.tcb.address not in [message.subject for message in machine.told(Tell.START)]
    machine.root.call(machine.sched_context(), Label.SCHED_CONTEXT_BIND, (), [thread.cap])
    assert machine.told(Tell.START)[-1].subject == thread.tcb.address


def test_THREADS0004_revoked_vspace_stops(machine: Machine) -> None:
    """Threads whose address space is revoked stop and their process ends."""
    thread = machine.thread("thread", own_vspace=True)
    space = thread.cap + 4
    machine.revoke(space)
    assert thread.state is ThreadState.INACTIVE
    assert machine.told(Tell.KILL)[-1].subject == thread.tcb.address


def test_TCB0029_identify(machine: Machine, thread: Thread) -> None:
    """IDENTIFY tells of a TCB whether its thread has a process in which it is not stopped."""

    def runs() -> int:
        return got(machine.root.syscall(Syscall.IDENTIFY, thread.cap)).words[3]

    assert runs() == 1
    machine.root.call(thread.cap, Label.TCB_SUSPEND)
    assert runs() == 0
    machine.root.call(thread.cap, Label.TCB_RESUME)
    assert runs() == 1
    machine.died(thread, 9)
    assert runs() == 0


def test_TCB0030_identify_the_fault(machine: Machine) -> None:
    """IDENTIFY with two words tells of a TCB what its handler was told of the fault that it has not answered yet."""
    thread, endpoint = faulting(machine)

    def held() -> tuple[int, ...]:
        return got(machine.root.syscall(Syscall.IDENTIFY, thread.cap, words=(0, 0))).words

    assert thread.syscall(UNKNOWN_SYSCALL) is None
    assert held() == ()
    told = got(next_fault(machine, endpoint))
    assert held() == (FaultLabel.UNKNOWN_SYSCALL, *told.words)
    machine.root.call(thread.cap, Label.TCB_SUSPEND)
    assert held() == ()
    machine.root.call(thread.cap, Label.TCB_RESUME)
    machine.died(thread, 9)
    told = got(next_fault(machine, endpoint))
    assert held() == (FaultLabel.USER_EXCEPTION, *told.words)
    assert held()[-1] == 9
