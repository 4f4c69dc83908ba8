"""TCB: suspend and resume, registers, priorities and scheduling parameters (seL4 Reference Manual 6)."""

import struct

import pytest

from kerneld.outbox import Tell
from kerneld.records import ProcessState, ThreadState
from libsel4py import abi
from libsel4py.abi import Error, InitialSlot, Label, ObjectType, Rights, Syscall
from tests.harness import OWN_TCB, Machine

from .scene import OTHER, Scene, call, message, receive, send

TCB = InitialSlot.TCB


# --- suspend and resume


def test_suspending_a_running_thread_stops_it_and_resuming_lets_it_go_on() -> None:
    machine = Machine()
    thread = machine.thread("thread")
    machine.root.call(thread.cap, Label.TCB_SUSPEND)
    assert (thread.state, thread.tcb.process) == (ThreadState.INACTIVE, ProcessState.STOPPED)
    assert thread.syscall(Syscall.YIELD) is None
    machine.root.call(thread.cap, Label.TCB_RESUME)
    assert (thread.state, thread.tcb.process) == (ThreadState.RUNNING, ProcessState.LIVE)
    assert thread.completion() is not None
    kinds = [tell.kind for tell in machine.tells if tell.subject == thread.tcb.address]
    assert kinds == [Tell.TRAP_FRAME, Tell.START, Tell.STOP, Tell.CONTINUE]


@pytest.mark.parametrize("op", [Syscall.CALL, Syscall.SEND])
def test_a_thread_that_suspends_itself_stops_once(op: Syscall) -> None:
    machine = Machine()
    thread = machine.thread("thread")
    assert thread.syscall(op, OWN_TCB, label=Label.TCB_SUSPEND) is None
    assert thread.state is ThreadState.INACTIVE
    machine.root.call(thread.cap, Label.TCB_RESUME)
    assert message(thread.completion()) == (0, 0, ())
    assert thread.state is ThreadState.RUNNING


def test_resuming_a_thread_that_runs_changes_nothing() -> None:
    machine = Machine()
    thread = machine.thread("thread")
    machine.root.call(thread.cap, Label.TCB_RESUME)
    assert thread.invoke(OWN_TCB, Label.TCB_RESUME) == (0, ())
    assert not machine.told(Tell.CONTINUE)


@pytest.mark.parametrize("resume_first", [False, True])
def test_a_blocked_receive_and_a_blocked_send_start_again(resume_first: bool) -> None:
    scene = Scene()
    server, client = scene.thread("server"), scene.thread("client")
    receive(server)
    if not resume_first:
        scene.suspend(server)
        assert (server.state, scene.endpoint_record().head) == (ThreadState.INACTIVE, None)
    scene.resume(server)
    assert server.state is ThreadState.BLOCKED_ON_RECEIVE
    send(client, (1,))
    assert message(server.completion()) == (0, 0, (1,))
    send(client, (2,))
    client.completion()
    if not resume_first:
        scene.suspend(client)
    scene.resume(client)
    assert client.state is ThreadState.BLOCKED_ON_SEND
    assert message(receive(server)) == (0, 0, (2,))


def test_a_restarted_system_call_uses_its_saved_words() -> None:
    scene = Scene()
    server, client = scene.thread("server"), scene.thread("client")
    send(client, (1, 2, 3))
    scene.suspend(client)
    at = client.tcb.trap_frame + abi.SUBMIT_RING
    scene.machine.ram.poke(at, bytes(abi.RING_ENTRY_BYTES))
    scene.resume(client)
    assert message(receive(server)) == (0, 0, (1, 2, 3))


def test_a_thread_without_context_is_resumed_when_it_gets_one() -> None:
    machine = Machine()
    thread = machine.thread("thread", passive=True)
    assert (thread.state, thread.tcb.process) == (ThreadState.RESTART, ProcessState.NONE)
    machine.root.call(machine.sched_context(), Label.SCHED_CONTEXT_BIND, (), [thread.cap])
    assert (thread.state, thread.tcb.process) == (ThreadState.RUNNING, ProcessState.LIVE)


def test_deleting_a_thread_ends_its_process_and_all_that_it_was_part_of() -> None:
    scene = Scene()
    server, client = scene.thread("server"), scene.thread("client")
    receive(server)
    call(client)
    context = client.tcb.sched_context
    assert context is not None
    scene.machine.revoke(client.cap)
    scene.machine.delete(client.cap)
    assert [(tell.subject, tell.detail) for tell in scene.machine.told(Tell.KILL)] == [
        (client.tcb.address, scene.machine.slot(InitialSlot.VSPACE).object)
    ]
    assert context.tcb is None


def test_a_thread_that_deletes_itself_gets_no_completion() -> None:
    machine = Machine()
    thread = machine.thread("thread")
    machine.grant(thread, InitialSlot.CNODE, OTHER)
    machine.revoke(thread.cap)
    machine.grant(thread, thread.cap, OWN_TCB)
    machine.delete(thread.cap)
    assert thread.syscall(Syscall.CALL, 251, words=(OWN_TCB, 8), label=Label.CNODE_DELETE) is None
    assert [tell.subject for tell in machine.told(Tell.KILL)] == [thread.tcb.address]
    assert not machine.told(Tell.STOP)


# --- registers


def test_registers_are_written_read_and_copied() -> None:
    machine = Machine()
    root = machine.root
    first, second = machine.thread("first", start=False), machine.thread("second", start=False)
    values = tuple(range(100, 100 + abi.REGISTERS))
    root.call(first.cap, Label.TCB_WRITE_REGISTERS, (0, abi.REGISTERS, *values))
    assert root.call(first.cap, Label.TCB_READ_REGISTERS, (0, abi.REGISTERS)) == values
    assert root.call(first.cap, Label.TCB_READ_REGISTERS, (0, 3)) == values[:3]
    root.call(second.cap, Label.TCB_COPY_REGISTERS, (4,), [first.cap])
    assert root.call(second.cap, Label.TCB_READ_REGISTERS, (0, 20)) == (*values[:18], 0, 0)
    root.call(second.cap, Label.TCB_COPY_REGISTERS, (8,), [first.cap])
    assert root.call(second.cap, Label.TCB_READ_REGISTERS, (0, 20)) == values
    root.call(second.cap, Label.TCB_SET_TLS_BASE, (5,))
    assert root.call(second.cap, Label.TCB_READ_REGISTERS, (0, 20)) == (*values[:18], 5, values[19])
    assert first.tcb.rip == 100


def test_register_methods_suspend_and_resume() -> None:
    machine = Machine()
    root = machine.root
    first, second = machine.thread("first"), machine.thread("second", start=False)
    root.call(first.cap, Label.TCB_READ_REGISTERS, (1, 1))
    assert first.state is ThreadState.INACTIVE
    root.call(first.cap, Label.TCB_WRITE_REGISTERS, (1, 1, 7))
    assert (first.state, first.tcb.rip) == (ThreadState.RUNNING, 7)
    root.call(second.cap, Label.TCB_COPY_REGISTERS, (3,), [first.cap])
    assert (first.state, second.state) == (ThreadState.INACTIVE, ThreadState.RUNNING)
    assert second.tcb.rip == 0


@pytest.mark.parametrize(
    ("label", "words", "error", "payload"),
    [
        (Label.TCB_READ_REGISTERS, (0,), Error.TRUNCATED_MESSAGE, ()),
        (Label.TCB_READ_REGISTERS, (0, 0), Error.RANGE_ERROR, (1, 20)),
        (Label.TCB_READ_REGISTERS, (0, 21), Error.RANGE_ERROR, (1, 20)),
        (Label.TCB_READ_REGISTERS, (0, 20), Error.ILLEGAL_OPERATION, ()),
        (Label.TCB_WRITE_REGISTERS, (0,), Error.TRUNCATED_MESSAGE, ()),
        (Label.TCB_WRITE_REGISTERS, (0, 2, 1), Error.TRUNCATED_MESSAGE, ()),
        (Label.TCB_WRITE_REGISTERS, (0, 1, 1), Error.ILLEGAL_OPERATION, ()),
        (Label.TCB_COPY_REGISTERS, (0,), Error.TRUNCATED_MESSAGE, ()),
        (Label.TCB_SET_TLS_BASE, (), Error.TRUNCATED_MESSAGE, ()),
        (Label.TCB_SET_FLAGS, (1,), Error.TRUNCATED_MESSAGE, ()),
        (99, (), Error.ILLEGAL_OPERATION, ()),
    ],
)
def test_register_methods_on_oneself(
    label: int, words: tuple[int, ...], error: Error, payload: tuple[int, ...]
) -> None:
    assert Machine().root.invoke(TCB, label, words) == (error, payload)


def test_more_registers_than_there_are_are_ignored() -> None:
    machine = Machine()
    thread = machine.thread("thread", start=False)
    machine.root.call(thread.cap, Label.TCB_WRITE_REGISTERS, (0, 30, *range(30)))
    assert machine.root.call(thread.cap, Label.TCB_READ_REGISTERS, (0, 20)) == tuple(range(20))
    assert thread.state is ThreadState.INACTIVE


def test_the_source_of_copied_registers_is_a_thread() -> None:
    machine = Machine()
    error = machine.root.invoke(TCB, Label.TCB_COPY_REGISTERS, (0,), [InitialSlot.CNODE])
    assert error == (Error.INVALID_CAPABILITY, (1,))


def test_flags() -> None:
    machine = Machine()
    assert machine.root.call(TCB, Label.TCB_SET_FLAGS, (0, 0xFF)) == (1,)
    assert machine.root.call(TCB, Label.TCB_SET_FLAGS, (0, 0)) == (1,)
    assert machine.root.call(TCB, Label.TCB_SET_FLAGS, (1, 0)) == (0,)


# --- priorities


@pytest.mark.parametrize("label", [Label.TCB_SET_PRIORITY, Label.TCB_SET_MC_PRIORITY])
def test_a_priority_needs_a_thread_that_controls_it(label: Label) -> None:
    machine = Machine()
    root = machine.root
    weak = machine.thread("weak", mcp=20, priority=10)
    assert root.invoke(weak.cap, label, (), [TCB]) == (Error.TRUNCATED_MESSAGE, ())
    assert root.invoke(weak.cap, label, (1,)) == (Error.TRUNCATED_MESSAGE, ())
    assert root.invoke(weak.cap, label, (1,), [InitialSlot.CNODE]) == (Error.INVALID_CAPABILITY, (1,))
    assert root.invoke(weak.cap, label, (21,), [weak.cap]) == (Error.RANGE_ERROR, (0, 20))
    assert root.invoke(weak.cap, label, (256,), [TCB]) == (Error.RANGE_ERROR, (0, 255))
    root.call(weak.cap, label, (20,), [weak.cap])
    root.call(weak.cap, label, (200,), [TCB])
    assert 200 in (weak.tcb.priority, weak.tcb.mcp)


def test_scheduling_parameters_are_checked_in_order() -> None:
    machine = Machine()
    root, null = machine.root, InitialSlot.NULL
    thread = machine.thread("thread", passive=True, start=False)
    context, notification = machine.sched_context(), machine.retype(ObjectType.NOTIFICATION)
    endpoint = machine.retype(ObjectType.ENDPOINT)
    mute = machine.copy(endpoint, Rights.WRITE | Rights.READ)
    label = Label.TCB_SET_SCHED_PARAMS

    def refused(words: tuple[int, ...], *caps: int) -> tuple[int, tuple[int, ...]]:
        return root.invoke(thread.cap, label, words, caps)

    assert refused((1,), TCB, null, null) == (Error.TRUNCATED_MESSAGE, ())
    assert refused((1, 1), TCB, null) == (Error.TRUNCATED_MESSAGE, ())
    assert refused((300, 300), null, notification, mute) == (Error.INVALID_CAPABILITY, (1,))
    assert refused((300, 1), TCB, notification, mute) == (Error.RANGE_ERROR, (0, 255))
    assert refused((1, 300), TCB, notification, mute) == (Error.RANGE_ERROR, (0, 255))
    assert refused((1, 1), TCB, notification, mute) == (Error.INVALID_CAPABILITY, (2,))
    assert refused((1, 1), TCB, InitialSlot.SCHED_CONTEXT, mute) == (Error.ILLEGAL_OPERATION, ())
    assert refused((1, 1), TCB, context, mute) == (Error.INVALID_CAPABILITY, (3,))
    root.call(thread.cap, label, (30, 20), [TCB, context, endpoint])
    assert (thread.tcb.mcp, thread.tcb.priority) == (30, 20)
    bound = thread.tcb.sched_context
    assert bound is not None
    assert refused((1, 1), TCB, context, null) == (Error.ILLEGAL_OPERATION, ())
    root.call(thread.cap, label, (30, 20), [TCB, null, null])
    assert (thread.tcb.sched_context, bound.tcb) == (None, None)
    assert root.invoke(TCB, label, (1, 1), [TCB, null, null]) == (Error.ILLEGAL_OPERATION, ())


def test_a_new_priority_of_a_waiting_thread_counts_at_once() -> None:
    scene = Scene()
    clients = [scene.thread(name, priority=10) for name in ("first", "second")]
    for number, client in enumerate(clients):
        send(client, (number,))
    words = (100, 11)
    scene.machine.root.call(clients[1].cap, Label.TCB_SET_SCHED_PARAMS, words, [TCB, InitialSlot.NULL, 0])
    assert scene.endpoint_record().head == clients[1].tcb
    assert clients[1].tcb.sched_context is None


# --- names


def name_words(name: str) -> tuple[int, ...]:
    return struct.unpack("<4Q", name.encode().ljust(abi.THREAD_NAME_BYTES, b"\0"))


def test_the_initial_task_alone_says_that_a_process_stands_by() -> None:
    """Whoever could would have its output in the log of a task of that name."""
    machine = Machine()
    thread = machine.thread("thread")
    for name in ("files.standby", ".standby", "x" * 24 + ".standby"):
        refused, _ = thread.invoke(OWN_TCB, Label.TCB_SET_NAME, name_words(name))
        assert refused == Error.ILLEGAL_OPERATION
    assert thread.tcb.name == "thread"
    assert thread.invoke(OWN_TCB, Label.TCB_SET_NAME, name_words("files.standby.not")) == (0, ())
    machine.root.call(thread.cap, Label.TCB_SET_NAME, name_words("files.standby"))
    assert thread.tcb.name == "files.standby"
