"""Scenarios of threads: TCB methods and the system calls. They join the table of `scenarios.py`."""

from __future__ import annotations

from libsel4py import abi
from libsel4py.abi import InitialSlot, Label, ObjectType, Syscall
from tests.harness import OWN_CNODE, OWN_REPLY, THREAD_CNODE_BITS
from tests.model.scenarios import (
    ENDPOINT,
    NOTIFICATION,
    RECEIVER,
    TABLE,
    Prepare,
    Stage,
    Trap,
    calling_client,
    invocation,
    served_client,
    waiting_server,
)

# --- TCB


def _of_client(label: Label, words: tuple[int, ...] = (), *, waits: bool = False) -> Prepare:
    """A method of the client's TCB without capability arguments."""

    def prepare(stage: Stage) -> Trap:
        if waits:
            calling_client(stage)
        return invocation(stage, stage.client.cap, label, words)

    prepare.__name__ = label.name.lower() + ("_of_waiting" if waits else "")
    return prepare


for _waits in (False, True):
    for _label, _words in (
        (Label.TCB_READ_REGISTERS, (1, abi.REGISTERS)),
        (Label.TCB_WRITE_REGISTERS, (1, 3, 11, 12, 13)),
        (Label.TCB_SUSPEND, ()),
        (Label.TCB_RESUME, ()),
        (Label.TCB_SET_TLS_BASE, (0x1234,)),
        (Label.TCB_SET_FLAGS, (0, 1)),
        (Label.TCB_EXPLAIN, ()),
        (Label.TCB_SET_NAME, (0x656D616E, 0, 0, 0)),
    ):
        TABLE.of(_label)(_of_client(_label, _words, waits=_waits))


@TABLE.of(Label.TCB_SUSPEND)
def suspend_self(stage: Stage) -> Trap:
    return invocation(stage, InitialSlot.TCB, Label.TCB_SUSPEND)


@TABLE.of(Label.TCB_SUSPEND)
def suspend_served(stage: Stage) -> Trap:
    served_client(stage, passive=True)
    return invocation(stage, stage.client.cap, Label.TCB_SUSPEND)


@TABLE.of(Label.TCB_COPY_REGISTERS)
def copy_registers(stage: Stage) -> Trap:
    stage.root.call(stage.server.cap, Label.TCB_WRITE_REGISTERS, (0, 3, 11, 12, 13))
    words, caps = (1 | 2 | 4 | 8,), (stage.server.cap,)
    return invocation(stage, stage.client.cap, Label.TCB_COPY_REGISTERS, words, caps)


@TABLE.of(Label.TCB_CONFIGURE)
def configure(stage: Stage) -> Trap:
    """Other spaces and another trap frame for a thread that runs."""
    frame = stage.machine.retype(ObjectType.FRAME, abi.TRAP_FRAME_BITS)
    space = stage.machine.retype(ObjectType.VSPACE, abi.VSPACE_MIN_BITS)
    words = (0, 0, stage.machine.slot(frame).object)
    return invocation(stage, stage.client.cap, Label.TCB_CONFIGURE, words, (stage.server.cnode, space, frame))


@TABLE.of(Label.TCB_SET_SPACE)
def set_space(stage: Stage) -> Trap:
    handler = stage.machine.copy(stage.endpoint, badge=5)
    words = (abi.cnode_cap_data(0, abi.WORD_BITS - THREAD_CNODE_BITS), 0)
    caps = (handler, stage.client.cnode, InitialSlot.VSPACE)
    return invocation(stage, stage.client.cap, Label.TCB_SET_SPACE, words, caps)


@TABLE.of(Label.TCB_SET_IPC_BUFFER)
def set_ipc_buffer(stage: Stage) -> Trap:
    frame = stage.machine.retype(ObjectType.FRAME, abi.TRAP_FRAME_BITS)
    words = (stage.machine.slot(frame).object,)
    return invocation(stage, stage.client.cap, Label.TCB_SET_IPC_BUFFER, words, (frame,))


@TABLE.of(Label.TCB_SET_TIMEOUT_ENDPOINT)
def set_timeout_endpoint(stage: Stage) -> Trap:
    return invocation(stage, stage.client.cap, Label.TCB_SET_TIMEOUT_ENDPOINT, (), (stage.endpoint,))


@TABLE.of(Label.TCB_SET_PRIORITY)
def set_priority(stage: Stage) -> Trap:
    """Of the last of two that wait: it moves to the front."""
    calling_client(stage)
    assert stage.server.syscall(Syscall.SEND, ENDPOINT) is None
    return invocation(stage, stage.server.cap, Label.TCB_SET_PRIORITY, (120,), (InitialSlot.TCB,))


@TABLE.of(Label.TCB_SET_MC_PRIORITY)
def set_mc_priority(stage: Stage) -> Trap:
    return invocation(stage, stage.client.cap, Label.TCB_SET_MC_PRIORITY, (20,), (InitialSlot.TCB,))


@TABLE.of(Label.TCB_SET_SCHED_PARAMS)
def set_sched_params(stage: Stage) -> Trap:
    thread = stage.machine.thread("late", passive=True)
    caps = (InitialSlot.TCB, stage.machine.sched_context(), stage.machine.copy(stage.endpoint, badge=6))
    return invocation(stage, thread.cap, Label.TCB_SET_SCHED_PARAMS, (200, 150), caps)


@TABLE.of(Label.TCB_BIND_NOTIFICATION)
def bind_notification(stage: Stage) -> Trap:
    return invocation(stage, stage.client.cap, Label.TCB_BIND_NOTIFICATION, (), (stage.notification,))


@TABLE.of(Label.TCB_UNBIND_NOTIFICATION)
def unbind_notification(stage: Stage) -> Trap:
    stage.root.call(stage.client.cap, Label.TCB_BIND_NOTIFICATION, (), (stage.notification,))
    return invocation(stage, stage.client.cap, Label.TCB_UNBIND_NOTIFICATION)


# --- system calls


def _receive_slot(stage: Stage) -> None:
    stage.server.set_receive(OWN_CNODE, 40, THREAD_CNODE_BITS)


@TABLE.of(Syscall.CALL)
def call_of_passive_server(stage: Stage) -> Trap:
    _receive_slot(stage)
    waiting_server(stage, passive=True)
    words, caps = tuple(range(1, 8)), (NOTIFICATION, ENDPOINT)
    return Trap(stage.client, Syscall.CALL, ENDPOINT, 3, words, caps)


@TABLE.of(Syscall.CALL)
def call_that_waits(stage: Stage) -> Trap:
    return Trap(stage.client, Syscall.CALL, ENDPOINT, 3, (1,))


@TABLE.of(Syscall.CALL)
def call_of_nothing(stage: Stage) -> Trap:
    """It faults, and the server is told."""
    waiting_server(stage)
    return Trap(stage.client, Syscall.CALL, 1 << 50)


@TABLE.of(Syscall.SEND)
def send_to_waiting(stage: Stage) -> Trap:
    _receive_slot(stage)
    waiting_server(stage)
    return Trap(stage.client, Syscall.SEND, ENDPOINT, 2, (5, 6), (NOTIFICATION,))


@TABLE.of(Syscall.SEND)
def signal_to_bound(stage: Stage) -> Trap:
    stage.root.call(stage.server.cap, Label.TCB_BIND_NOTIFICATION, (), (stage.notification,))
    waiting_server(stage)
    return Trap(stage.client, Syscall.SEND, NOTIFICATION)


@TABLE.of(Syscall.SEND)
def reply_with_send(stage: Stage) -> Trap:
    served_client(stage)
    return Trap(stage.server, Syscall.SEND, OWN_REPLY, 1, (9,))


@TABLE.of(Syscall.NB_SEND)
def nb_send(stage: Stage) -> Trap:
    waiting_server(stage)
    return Trap(stage.client, Syscall.NB_SEND, ENDPOINT, 2, (5,))


@TABLE.of(Syscall.RECV)
def recv_of_call(stage: Stage) -> Trap:
    calling_client(stage)
    return Trap(stage.server, Syscall.RECV, RECEIVER, reply=OWN_REPLY)


@TABLE.of(Syscall.RECV)
def recv_that_waits(stage: Stage) -> Trap:
    return Trap(stage.server, Syscall.RECV, RECEIVER, reply=OWN_REPLY)


@TABLE.of(Syscall.RECV)
def recv_with_used_reply(stage: Stage) -> Trap:
    """The reply object is taken away from a caller that waits at it."""
    served_client(stage)
    return Trap(stage.server, Syscall.RECV, RECEIVER, reply=OWN_REPLY)


@TABLE.of(Syscall.NB_RECV)
def nb_recv(stage: Stage) -> Trap:
    calling_client(stage)
    return Trap(stage.server, Syscall.NB_RECV, RECEIVER, reply=OWN_REPLY)


@TABLE.of(Syscall.REPLY_RECV)
def reply_recv(stage: Stage) -> Trap:
    served_client(stage, passive=True)
    return Trap(stage.server, Syscall.REPLY_RECV, RECEIVER, 1, (4, 5, 6, 7, 8), reply=OWN_REPLY)


@TABLE.of(Syscall.REPLY_RECV)
def reply_to_fault(stage: Stage) -> Trap:
    waiting_server(stage)
    assert stage.client.syscall(-99, words=(1, 2)) is None
    assert stage.server.completion() is not None
    return Trap(stage.server, Syscall.REPLY_RECV, RECEIVER, 0, tuple(range(10)), reply=OWN_REPLY)


@TABLE.of(Syscall.NB_SEND_RECV)
def nb_send_recv(stage: Stage) -> Trap:
    waiting_server(stage, passive=True)
    return Trap(stage.client, Syscall.NB_SEND_RECV, RECEIVER, 1, (4,), reply=OWN_REPLY, dest=ENDPOINT)


@TABLE.of(Syscall.NB_SEND_WAIT)
def nb_send_wait(stage: Stage) -> Trap:
    waiting_server(stage, passive=True)
    return Trap(stage.client, Syscall.NB_SEND_WAIT, NOTIFICATION, 1, (4,), dest=ENDPOINT)


@TABLE.of(Syscall.WAIT)
def wait(stage: Stage) -> Trap:
    return Trap(stage.client, Syscall.WAIT, NOTIFICATION)


@TABLE.of(Syscall.WAIT)
def wait_for_lent_time(stage: Stage) -> Trap:
    """A thread that runs on its notification's scheduling context gives it back as it waits."""
    stage.root.call(stage.client.sched_context, Label.SCHED_CONTEXT_UNBIND)
    stage.root.call(stage.client.sched_context, Label.SCHED_CONTEXT_BIND, (), (stage.client.cap,))
    assert stage.client.syscall(Syscall.WAIT, NOTIFICATION) is None
    stage.root.call(stage.client.sched_context, Label.SCHED_CONTEXT_UNBIND)
    stage.root.call(stage.client.sched_context, Label.SCHED_CONTEXT_BIND, (), (stage.notification,))
    assert stage.server.syscall(Syscall.SEND, NOTIFICATION) is not None
    assert stage.client.completion() is not None
    return Trap(stage.client, Syscall.WAIT, NOTIFICATION)


@TABLE.of(Syscall.NB_WAIT)
def nb_wait(stage: Stage) -> Trap:
    assert stage.server.syscall(Syscall.SEND, NOTIFICATION) is not None
    return Trap(stage.client, Syscall.NB_WAIT, NOTIFICATION)


@TABLE.of(Syscall.YIELD)
def give_way(stage: Stage) -> Trap:
    return Trap(stage.client, Syscall.YIELD)


@TABLE.of(Syscall.CANCEL)
def cancel_call(stage: Stage) -> Trap:
    calling_client(stage)
    return Trap(stage.client, Syscall.CANCEL)


@TABLE.of(Syscall.CANCEL)
def cancel_served(stage: Stage) -> Trap:
    served_client(stage)
    return Trap(stage.client, Syscall.CANCEL)


@TABLE.of(Syscall.EXIT)
def leave(stage: Stage) -> Trap:
    waiting_server(stage)
    return Trap(stage.client, Syscall.EXIT, words=(3,))


@TABLE.of(Syscall.IDENTIFY)
def identify(stage: Stage) -> Trap:
    return Trap(stage.client, Syscall.IDENTIFY, ENDPOINT)


@TABLE.of(Syscall.EXPLAIN)
def explain(stage: Stage) -> Trap:
    stage.root.invoke(stage.machine.untyped, Label.UNTYPED_RETYPE, (99, 0, 0, 0, 0, 1), (InitialSlot.CNODE,))
    return Trap(stage.root, Syscall.EXPLAIN)
