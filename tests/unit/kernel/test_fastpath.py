"""The fast path: what it takes on, what it leaves alone. The harness compares its stores with the slow path's."""

from __future__ import annotations

import pytest

from kerneld.outbox import Message, Tell
from kerneld.records import Tcb, ThreadState
from kerneld.work import WORK_UNITS
from libsel4py import abi
from libsel4py.abi import InitialSlot, Label, ObjectType, Rights, Syscall
from tests.harness import Machine, Thread, TwinKernel, take_fast_after_each_store

ENDPOINT, REPLY, SIGNAL, TAKEN = 100, 101, 102, 103


@pytest.fixture
def pair(machine: Machine) -> tuple[Thread, Thread]:
    """A server that waits and a client that can call it; both have a notification to signal."""
    endpoint, reply = machine.retype(ObjectType.ENDPOINT), machine.retype(ObjectType.REPLY)
    notification = machine.retype(ObjectType.NOTIFICATION)
    server, client = machine.thread("server"), machine.thread("client")
    for thread in (server, client):
        machine.grant(thread, endpoint, ENDPOINT)
        machine.grant(thread, notification, SIGNAL, badge=5)
    machine.grant(server, reply, REPLY)
    assert server.syscall(Syscall.RECV, ENDPOINT, reply=REPLY) is None
    return server, client


def fast_takes() -> int:
    return TwinKernel.fast_takes


@pytest.mark.parametrize("length", range(5))
def test_call_and_reply_recv_are_fast_at_up_to_four_words(pair: tuple[Thread, Thread], length: int) -> None:
    server, client = pair
    before = fast_takes()
    words = tuple(range(1, length + 1))
    assert client.syscall(Syscall.CALL, ENDPOINT, words=words, label=7) is None
    request = server.completion()
    assert request is not None
    assert (request.label, request.words) == (7, words)
    assert server.syscall(Syscall.REPLY_RECV, ENDPOINT, words=words[::-1], label=3, reply=REPLY) is None
    answer = client.completion()
    assert answer is not None
    assert (answer.badge, answer.label, answer.words) == (0, 3, words[::-1])
    assert fast_takes() == before + 2


@pytest.mark.parametrize("op", [Syscall.CALL, Syscall.SEND, Syscall.NB_SEND])
def test_signals_are_fast_where_nobody_waits(pair: tuple[Thread, Thread], op: Syscall) -> None:
    _, client = pair
    before = fast_takes()
    for _ in range(2):
        assert client.syscall(op, SIGNAL) is not None
    assert fast_takes() == before + 2
    done = client.syscall(Syscall.NB_WAIT, SIGNAL)
    assert done is not None
    assert done.badge == 5


def test_a_signal_that_wakes_somebody_is_slow(pair: tuple[Thread, Thread]) -> None:
    server, client = pair
    other = client.machine.thread("other")
    client.machine.grant(other, client.machine.next_slot - 1, 7)
    before = fast_takes()
    assert client.syscall(Syscall.WAIT, SIGNAL) is None
    assert client.state is ThreadState.BLOCKED_ON_NOTIFICATION
    assert server.state is ThreadState.BLOCKED_ON_RECEIVE
    assert fast_takes() == before


@pytest.mark.parametrize("words", [5, 120])
def test_longer_messages_are_slow(pair: tuple[Thread, Thread], words: int) -> None:
    server, client = pair
    before = fast_takes()
    assert client.syscall(Syscall.CALL, ENDPOINT, words=range(words)) is None
    request = server.completion()
    assert request is not None
    assert request.words == tuple(range(words))
    assert fast_takes() == before


@pytest.mark.parametrize("rights", [Rights.WRITE, Rights.READ, Rights.GRANT, Rights.NONE])
def test_without_the_rights_for_a_call_it_is_slow(machine: Machine, rights: Rights) -> None:
    endpoint, reply = machine.retype(ObjectType.ENDPOINT), machine.retype(ObjectType.REPLY)
    server, client = machine.thread("server"), machine.thread("client")
    machine.grant(server, endpoint, ENDPOINT)
    machine.grant(server, reply, REPLY)
    machine.grant(client, endpoint, ENDPOINT, rights)
    server.syscall(Syscall.RECV, ENDPOINT, reply=REPLY)
    before = fast_takes()
    client.syscall(Syscall.CALL, ENDPOINT, words=(1,))
    assert fast_takes() == before


def delivered_to(thread: Thread) -> Message:
    """How the host was told of the thread's last completion."""
    return [tell for tell in thread.machine.deliveries if tell.subject == thread.tcb.address][-1]


def test_a_receive_that_has_taken_memory_ends_when_it_is_gone(pair: tuple[Thread, Thread]) -> None:
    """Its first phase was an Unmap: the call that ends it is the slow path's."""
    _, client = pair
    machine = client.machine
    endpoint, frame = machine.retype(ObjectType.ENDPOINT), machine.retype(ObjectType.FRAME, abi.FRAME_MIN_BITS)
    owner = machine.thread("owner")
    machine.grant(owner, endpoint, ENDPOINT)
    machine.grant(owner, frame, TAKEN)
    machine.grant(client, endpoint, TAKEN)
    words = {"dest": TAKEN, "reply": owner.reply, "label": Label.FRAME_UNMAP}
    assert owner.syscall(Syscall.NB_SEND_RECV, ENDPOINT, **words) is None
    before = fast_takes()
    assert client.syscall(Syscall.CALL, TAKEN, words=(1,)) is None
    assert owner.completion() is not None
    assert delivered_to(owner) == Message(Tell.DELIVER, owner.tcb.address, 1)
    assert not owner.tcb.takes_memory
    assert fast_takes() == before


def test_a_call_that_has_taken_memory_ends_when_it_is_gone(pair: tuple[Thread, Thread]) -> None:
    """It was a Revoke, until another capability came to be at its address: the reply is the slow path's."""
    server, client = pair
    machine = client.machine
    frame = machine.retype(ObjectType.FRAME, abi.FRAME_MIN_BITS)
    for _ in range(2 * WORK_UNITS):
        machine.copy(frame)
    machine.grant(client, InitialSlot.CNODE, TAKEN)
    client.submit(Syscall.CALL, TAKEN, abi.message_info(Label.CNODE_REVOKE, 2), (frame, abi.WORD_BITS))
    assert machine.kernel.take(client.tcb)
    machine.settle()
    assert client.state is ThreadState.RESTART
    depth = 8
    for label, words in (
        (Label.CNODE_DELETE, (TAKEN, depth)),
        (Label.CNODE_COPY, (TAKEN, depth, ENDPOINT, depth, Rights.ALL)),
    ):
        caps = (client.cnode,) if label == Label.CNODE_COPY else ()
        machine.root.submit(
            Syscall.CALL, client.cnode, abi.message_info(label, len(words), len(caps)), words, caps=caps
        )
        assert machine.kernel.take(machine.root.tcb)
        machine.settle()
        assert machine.root.completion() is not None
    machine.run()
    assert client.state is ThreadState.BLOCKED_ON_REPLY
    assert server.completion() is not None
    before = fast_takes()
    assert server.syscall(Syscall.REPLY_RECV, ENDPOINT, words=(1,), reply=REPLY) is None
    assert client.completion() is not None
    assert delivered_to(client) == Message(Tell.DELIVER, client.tcb.address, 1)
    assert not client.tcb.takes_memory
    assert fast_takes() == before


def test_receivers_of_one_priority_are_taken_from_their_queue_one_by_one(machine: Machine) -> None:
    endpoint = machine.retype(ObjectType.ENDPOINT)
    servers = [machine.thread(f"server{number}", priority=100 - number // 3) for number in range(5)]
    clients = [machine.thread(f"client{number}") for number in range(5)]
    for thread in (*servers, *clients):
        machine.grant(thread, endpoint, ENDPOINT)
    for server in servers:
        assert server.syscall(Syscall.RECV, ENDPOINT, reply=server.reply) is None
    before = fast_takes()
    for number, (server, client) in enumerate(zip(servers, clients, strict=True)):
        assert client.syscall(Syscall.CALL, ENDPOINT, words=(number,)) is None
        request = server.completion()
        assert request is not None
        assert request.words == (number,)
    assert fast_takes() == before + 5


def test_several_callers_wait_their_turn(machine: Machine) -> None:
    """With a queue of callers the reply is slow, since the next message is taken in the same system call."""
    endpoint, reply = machine.retype(ObjectType.ENDPOINT), machine.retype(ObjectType.REPLY)
    server = machine.thread("server")
    machine.grant(server, endpoint, ENDPOINT)
    machine.grant(server, reply, REPLY)
    clients = [machine.thread(f"client{number}") for number in range(3)]
    for number, client in enumerate(clients):
        machine.grant(client, endpoint, ENDPOINT, badge=number + 1)
        assert client.syscall(Syscall.CALL, ENDPOINT, words=(number,)) is None
    first = server.syscall(Syscall.RECV, ENDPOINT, reply=REPLY)
    assert first is not None
    seen = [first.badge]
    for _ in range(2):
        following = server.syscall(Syscall.REPLY_RECV, ENDPOINT, words=(9,), reply=REPLY)
        assert following is not None
        seen.append(following.badge)
    assert seen == [1, 2, 3]


def test_every_store_can_be_interrupted(pair: tuple[Thread, Thread]) -> None:
    """Killed at any store of a fast call, RAM rolls back to where it began."""
    server, client = pair
    machine = client.machine
    client.submit(Syscall.CALL, ENDPOINT, abi.message_info(1, 4), (1, 2, 3, 4))
    assert take_fast_after_each_store(machine, client.tcb) > 20
    request = server.completion()
    assert request is not None
    assert request.words == (1, 2, 3, 4)
    assert Tcb(machine.ram, server.tcb.address).state == ThreadState.RUNNING
