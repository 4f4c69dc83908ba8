"""Capabilities in messages: grant, unwrapping, the receive slot (seL4 Reference Manual 4.2.2)."""

import pytest

from kerneld import cspace
from kerneld.records import CapType, Slot, ThreadState
from libsel4py.abi import Label, ObjectType, Rights, Syscall
from tests.harness import OWN_CNODE, OWN_REPLY, THREAD_CNODE_BITS, Thread

from .scene import (
    ENDPOINT,
    OTHER,
    SPARE,
    Scene,
    call,
    caps_unwrapped,
    extra_caps,
    message,
    receive,
    reply_receive,
    send,
)


def slot_of(thread: Thread, index: int) -> Slot:
    return cspace.lookup_slot(thread.tcb, index)


def scene_with_gift(rights: int = Rights.ALL, badge: int | None = None) -> tuple[Scene, Thread, Thread, int]:
    """A server whose receive slot is SPARE, and a client that holds a notification in OTHER."""
    scene = Scene()
    server, client = scene.thread("server"), scene.thread("client", rights=rights, badge=badge)
    gift = scene.machine.retype(ObjectType.NOTIFICATION)
    scene.machine.grant(client, gift, OTHER, badge=5)
    server.set_receive(OWN_CNODE, SPARE, THREAD_CNODE_BITS)
    return scene, server, client, gift


@pytest.mark.parametrize("receiver_first", [True, False])
def test_a_granted_capability_arrives_in_the_receive_slot_and_is_a_copy(receiver_first: bool) -> None:
    scene, server, client, gift = scene_with_gift()
    if receiver_first:
        receive(server)
        send(client, (1,), caps=(OTHER,))
        done = server.completion()
    else:
        send(client, (1,), caps=(OTHER,))
        done = receive(server)
    assert (extra_caps(done), caps_unwrapped(done)) == (1, 0)
    assert message(done) == (0, 0, (1,))
    arrived = slot_of(server, SPARE)
    assert (arrived.cap_type, arrived.word1) == (CapType.NOTIFICATION, 5)
    assert slot_of(client, OTHER).cap_type == CapType.NOTIFICATION
    scene.machine.revoke(gift)
    assert arrived.cap_type == CapType.NULL


@pytest.mark.parametrize("rights", [Rights.WRITE, Rights.WRITE | Rights.GRANT_REPLY])
def test_without_grant_words_go_and_capabilities_stay(rights: int) -> None:
    _, server, client, _ = scene_with_gift(rights)
    receive(server)
    call(client, (4, 5), caps=(OTHER,))
    done = server.completion()
    assert message(done) == (0, 0, (4, 5))
    assert extra_caps(done) == 0
    assert slot_of(server, SPARE).cap_type == CapType.NULL


def test_capabilities_to_the_endpoint_itself_are_unwrapped() -> None:
    scene, server, client, _ = scene_with_gift(badge=11)
    scene.machine.grant(client, scene.endpoint, 3, badge=33)
    receive(server)
    send(client, caps=(ENDPOINT, 3, OTHER))
    done = server.completion()
    assert done is not None
    assert (extra_caps(done), caps_unwrapped(done)) == (3, 0b011)
    assert done.caps_or_badges[:2] == (11, 33)
    assert slot_of(server, SPARE).cap_type == CapType.NOTIFICATION


def test_an_unwrapped_capability_behind_a_received_one_keeps_its_place() -> None:
    _, server, client, _ = scene_with_gift(badge=11)
    receive(server)
    send(client, caps=(OTHER, ENDPOINT))
    done = server.completion()
    assert done is not None
    assert (extra_caps(done), caps_unwrapped(done), done.caps_or_badges[1]) == (2, 0b010, 11)


def test_a_second_capability_that_needs_a_slot_ends_the_transfer() -> None:
    scene, server, client, _ = scene_with_gift()
    scene.machine.grant(client, scene.machine.retype(ObjectType.ENDPOINT), 3)
    receive(server)
    send(client, caps=(OTHER, 3, ENDPOINT))
    assert extra_caps(server.completion()) == 1


@pytest.mark.parametrize(
    ("cnode", "index", "depth"),
    [
        (OWN_CNODE, ENDPOINT, THREAD_CNODE_BITS),  # occupied
        (OWN_CNODE, SPARE, 0),
        (OWN_CNODE, SPARE, 65),
        (OWN_CNODE, SPARE, THREAD_CNODE_BITS + 1),
        (ENDPOINT, SPARE, THREAD_CNODE_BITS),  # no CNode
        (SPARE + 1, SPARE, THREAD_CNODE_BITS),  # an empty slot
        (1 << 63, SPARE, THREAD_CNODE_BITS),
    ],
)
def test_an_impossible_receive_slot_costs_the_capability_and_nothing_else(cnode: int, index: int, depth: int) -> None:
    _, server, client, _ = scene_with_gift()
    server.set_receive(cnode, index, depth)
    receive(server)
    assert send(client, (1, 2), caps=(OTHER,)) is not None
    done = server.completion()
    assert message(done) == (0, 0, (1, 2))
    assert extra_caps(done) == 0
    assert slot_of(server, SPARE).cap_type == CapType.NULL


def test_an_empty_slot_ends_the_transfer() -> None:
    _, server, client, _ = scene_with_gift()
    receive(server)
    assert send(client, caps=(SPARE, OTHER)) is not None
    assert extra_caps(server.completion()) == 0


def test_untyped_memory_with_children_does_not_travel() -> None:
    scene, server, client, _ = scene_with_gift()
    untyped = scene.machine.retype(ObjectType.UNTYPED, 12)
    scene.machine.retype(ObjectType.ENDPOINT, untyped=untyped)
    receive(server)
    # the initial task sends: only it holds the capability that has the children
    done = scene.machine.root.syscall(Syscall.SEND, scene.endpoint, caps=(untyped,))
    assert done is not None
    assert extra_caps(server.completion()) == 0
    assert client.state is ThreadState.RUNNING


def test_a_capability_address_that_does_not_resolve_faults_a_blocking_sender_only() -> None:
    _, server, client, _ = scene_with_gift()
    receive(server)
    assert client.syscall(Syscall.NB_SEND, ENDPOINT, caps=(1 << 63,)) is not None
    assert server.state is ThreadState.BLOCKED_ON_RECEIVE
    assert send(client, caps=(1 << 63,)) is None
    assert client.state is ThreadState.INACTIVE
    assert server.state is ThreadState.BLOCKED_ON_RECEIVE


def test_an_inline_receiver_gets_no_capability() -> None:
    _, server, client, _ = scene_with_gift()
    server.syscall(Syscall.RECV, ENDPOINT, reply=OWN_REPLY, inline=True)
    send(client, caps=(OTHER,))
    assert extra_caps(server.completion()) == 0


@pytest.mark.parametrize(("rights", "arrives"), [(Rights.ALL, True), (Rights.WRITE | Rights.GRANT_REPLY, False)])
def test_a_reply_grants_by_the_reply_capability_s_right(rights: int, arrives: bool) -> None:
    scene = Scene()
    server, client = scene.thread("server"), scene.thread("client")
    scene.machine.grant(server, scene.machine.retype(ObjectType.NOTIFICATION), OTHER)
    reply = scene.machine.retype(ObjectType.REPLY)
    scene.machine.grant(server, reply, 3, rights)
    client.set_receive(OWN_CNODE, SPARE, THREAD_CNODE_BITS)
    server.syscall(Syscall.RECV, ENDPOINT, reply=3)
    call(client)
    server.completion()
    server.syscall(Syscall.SEND, 3, words=(1,), caps=(OTHER,))
    done = client.completion()
    assert message(done) == (0, 0, (1,))
    assert extra_caps(done) == int(arrives)
    assert slot_of(client, SPARE).cap_type == (CapType.NOTIFICATION if arrives else CapType.NULL)


def test_a_reply_unwraps_nothing() -> None:
    scene = Scene()
    server, client = scene.thread("server"), scene.thread("client")
    client.set_receive(OWN_CNODE, SPARE, THREAD_CNODE_BITS)
    receive(server)
    call(client)
    server.completion()
    reply_receive(server, caps=(ENDPOINT,))
    done = client.completion()
    assert (extra_caps(done), caps_unwrapped(done)) == (1, 0)
    assert slot_of(client, SPARE).cap_type == CapType.ENDPOINT
    assert client.call(OWN_CNODE, Label.CNODE_DELETE, (SPARE, THREAD_CNODE_BITS)) == ()
