"""Scenarios of channels: connecting, listening, and all that severs. They join the table of `scenarios.py`."""

from __future__ import annotations

from libsel4py import abi
from libsel4py.abi import Label, ObjectType, Syscall
from tests.harness import THREAD_CNODE_BITS
from tests.model.scenarios import CNODE, ENDPOINT, NOTIFICATION, RECEIVER, TABLE, Stage, Trap, at, invocation

CHANNEL = 20  # slots of the client's from here on


def give_channels(stage: Stage, count: int = 1) -> None:
    made = stage.machine.retype(ObjectType.CHANNEL, 0, count)
    for number in range(count):
        words = (CHANNEL + number, THREAD_CNODE_BITS, *at(made + number))
        stage.root.call(stage.client.cnode, Label.CNODE_MOVE, words, (CNODE,))


def listening_server(stage: Stage, cptr: int = RECEIVER) -> None:
    done = stage.server.syscall(Syscall.LISTEN, cptr)
    assert done is not None
    assert done.label == 0


def connect(stage: Stage, number: int = 0, cptr: int = ENDPOINT) -> None:
    stage.client.call(CHANNEL + number, Label.CHANNEL_CONNECT, (), (cptr,))


def connected(stage: Stage, count: int = 1) -> None:
    """The client has channels to the server that listens, and they are neighbours in its lists."""
    give_channels(stage, count)
    listening_server(stage)
    for number in range(count):
        connect(stage, number)


@TABLE.of(Label.CHANNEL_CONNECT)
def connect_first(stage: Stage) -> Trap:
    give_channels(stage)
    listening_server(stage)
    return Trap(stage.client, Syscall.CALL, CHANNEL, Label.CHANNEL_CONNECT, caps=(ENDPOINT,))


@TABLE.of(Label.CHANNEL_CONNECT)
def connect_another(stage: Stage) -> Trap:
    connected(stage, 2)
    stage.client.call(CHANNEL, Label.CHANNEL_DISCONNECT)
    return Trap(stage.client, Syscall.CALL, CHANNEL, Label.CHANNEL_CONNECT, caps=(ENDPOINT,))


@TABLE.of(Label.CHANNEL_CONNECT)
def connect_notification(stage: Stage) -> Trap:
    give_channels(stage)
    listening_server(stage, NOTIFICATION)
    return Trap(stage.client, Syscall.CALL, CHANNEL, Label.CHANNEL_CONNECT, caps=(NOTIFICATION,))


@TABLE.of(Label.CHANNEL_DISCONNECT)
def disconnect(stage: Stage) -> Trap:
    connected(stage, 3)
    return Trap(stage.client, Syscall.CALL, CHANNEL + 1, Label.CHANNEL_DISCONNECT)


@TABLE.of(Syscall.LISTEN)
def listen(stage: Stage) -> Trap:
    return Trap(stage.server, Syscall.LISTEN, RECEIVER)


@TABLE.of(Syscall.LISTEN)
def listen_again(stage: Stage) -> Trap:
    connected(stage)
    return Trap(stage.server, Syscall.LISTEN, RECEIVER)


@TABLE.of(Syscall.LISTEN)
def listen_to_what_has_channels(stage: Stage) -> Trap:
    """The client of the channels begins to take them as well, and something waits already."""
    connected(stage, 2)
    stage.machine.died(stage.server, 9)
    return Trap(stage.client, Syscall.LISTEN, RECEIVER)


@TABLE.of(Syscall.LISTEN)
def stop_listening(stage: Stage) -> Trap:
    connected(stage, 2)
    return Trap(stage.server, Syscall.LISTEN, 0)


@TABLE.of(Syscall.LISTEN)
def listen_refused(stage: Stage) -> Trap:
    listening_server(stage)
    return Trap(stage.server, Syscall.LISTEN, NOTIFICATION)


@TABLE.of(Syscall.SEND)
def signal_to_listener(stage: Stage) -> Trap:
    """It gives a hint."""
    listening_server(stage, NOTIFICATION)
    return Trap(stage.client, Syscall.SEND, NOTIFICATION)


@TABLE.of(Syscall.CALL)
def call_of_listener(stage: Stage) -> Trap:
    """It waits, and gives a hint."""
    listening_server(stage)
    return Trap(stage.client, Syscall.CALL, ENDPOINT, words=(1,))


@TABLE.of(Syscall.EXIT)
def leave_with_channels(stage: Stage) -> Trap:
    """A client that takes channels as well: its own are severed, those that it took stay."""
    connected(stage, 2)
    done = stage.client.syscall(Syscall.LISTEN, RECEIVER)
    assert done is not None
    return Trap(stage.client, Syscall.EXIT)


@TABLE.of(Label.CNODE_REVOKE)
def revoke_with_channels(stage: Stage) -> Trap:
    """The endpoint's copies go: those of two channels and of the listening thread among them."""
    connected(stage, 2)
    return invocation(stage, CNODE, Label.CNODE_REVOKE, at(stage.endpoint))


@TABLE.of(Label.CNODE_DELETE)
def delete_channel(stage: Stage) -> Trap:
    connected(stage, 2)
    return invocation(stage, stage.client.cnode, Label.CNODE_DELETE, (CHANNEL, THREAD_CNODE_BITS))


@TABLE.of(Label.CNODE_DELETE)
def delete_listening_thread(stage: Stage) -> Trap:
    connected(stage, 2)
    stage.root.call(stage.server.cnode, Label.CNODE_DELETE, (250, THREAD_CNODE_BITS))
    return invocation(stage, CNODE, Label.CNODE_DELETE, at(stage.server.cap))


@TABLE.of(Label.CNODE_DELETE)
def delete_client(stage: Stage) -> Trap:
    connected(stage, 2)
    stage.root.call(stage.client.cnode, Label.CNODE_DELETE, (250, THREAD_CNODE_BITS))
    return invocation(stage, CNODE, Label.CNODE_DELETE, at(stage.client.cap))


@TABLE.of(Label.TCB_BIND_NOTIFICATION)
def bind_to_listener(stage: Stage) -> Trap:
    """The notification is active: a hint."""
    listening_server(stage)
    assert stage.client.syscall(Syscall.NB_SEND, NOTIFICATION) is not None
    return invocation(stage, stage.server.cap, Label.TCB_BIND_NOTIFICATION, (), (stage.notification,))


@TABLE.of(Label.TCB_UNBIND_NOTIFICATION)
def unbind_with_channel(stage: Stage) -> Trap:
    stage.root.call(stage.server.cap, Label.TCB_BIND_NOTIFICATION, (), (stage.notification,))
    give_channels(stage)
    listening_server(stage)
    connect(stage, 0, NOTIFICATION)
    return invocation(stage, stage.server.cap, Label.TCB_UNBIND_NOTIFICATION)


@TABLE.of(Label.TCB_SET_SPACE)
def another_space_with_channels(stage: Stage) -> Trap:
    connected(stage, 2)
    space = stage.machine.retype(ObjectType.VSPACE, abi.VSPACE_MIN_BITS)
    words = (abi.cnode_cap_data(0, abi.WORD_BITS - THREAD_CNODE_BITS), 0)
    return invocation(stage, stage.client.cap, Label.TCB_SET_SPACE, words, (0, stage.client.cnode, space))
