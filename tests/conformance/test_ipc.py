"""Messages between threads: words, labels, badges, who waits for whom (manual 4.2; sel4test's IPC group)."""

from __future__ import annotations

import pytest

from kerneld.records import ThreadState
from libsel4py import abi
from libsel4py.abi import Label, ObjectType, Syscall
from tests.conformance.scenes import (
    ENDPOINT,
    SECOND,
    Pair,
    answer,
    call,
    got,
    held,
    pair,
    receive,
    send,
    words_of,
)
from tests.harness import Machine

LENGTHS = range(abi.MESSAGE_MAX_LENGTH + 1)
PRIORITIES = (90, 100, 110)


@pytest.fixture
def scene(machine: Machine) -> Pair:
    return pair(machine)


def test_IPC0001_all_lengths_receiver_first(scene: Pair) -> None:
    """Messages of 0 to 120 words arrive whole at a receiver that waits."""
    for length in LENGTHS:
        words = words_of(length)
        assert receive(scene.server) is None
        got(send(scene.client, words))
        assert got(scene.server.completion()).words == words


def test_IPC0002_all_lengths_sender_first(scene: Pair) -> None:
    """Messages of 0 to 120 words arrive whole from a sender that waits."""
    for length in LENGTHS:
        words = words_of(length)
        assert send(scene.client, words) is None
        assert got(receive(scene.server)).words == words
        got(scene.client.completion())


def test_IPC0003_all_lengths_call(scene: Pair) -> None:
    """Calls of 0 to 120 words arrive whole, and so do replies of 120 to 0 words."""
    for length in LENGTHS:
        assert receive(scene.server) is None
        assert call(scene.client, words_of(length)) is None
        assert got(scene.server.completion()).words == words_of(length)
        back = words_of(abi.MESSAGE_MAX_LENGTH - length, 2)
        answer(scene.server, back)
        assert got(scene.client.completion()).words == back


def test_IPC0004_all_lengths_reply_recv(scene: Pair) -> None:
    """ReplyRecv answers with 0 to 120 words and waits for the next call in one system call."""
    assert receive(scene.server) is None
    for length in LENGTHS:
        assert call(scene.client, words_of(3)) is None
        got(scene.server.completion())
        words = words_of(length, 3)
        assert scene.server.syscall(Syscall.REPLY_RECV, ENDPOINT, words=words, reply=scene.server.reply) is None
        assert got(scene.client.completion()).words == words


@pytest.mark.parametrize("label", [0, 1, abi.LABEL_MAX])
def test_IPC0005_label(scene: Pair, label: int) -> None:
    """A label of 52 bits is carried unchanged, both ways."""
    assert receive(scene.server) is None
    assert call(scene.client, label=label) is None
    assert got(scene.server.completion()).label == label
    answer(scene.server, label=label)
    assert got(scene.client.completion()).label == label


@pytest.mark.parametrize("badge", [None, 1, abi.WORD_MASK])
def test_IPC0006_badge(machine: Machine, badge: int | None) -> None:
    """The receiver gets the badge of the capability that was sent by, 0 for an unbadged one."""
    scene = pair(machine, badge=badge)
    assert receive(scene.server) is None
    send(scene.client)
    assert got(scene.server.completion()).badge == (badge or 0)


def test_IPC0007_reply_has_no_badge(machine: Machine) -> None:
    """A reply arrives with badge 0."""
    scene = pair(machine, badge=17)
    assert receive(scene.server) is None
    call(scene.client)
    answer(scene.server)
    assert got(scene.client.completion()).badge == 0


@pytest.mark.parametrize("length", [121, 127])
def test_IPC0008_longest(scene: Pair, length: int) -> None:
    """A length above 120 words counts as 120."""
    assert receive(scene.server) is None
    scene.client.syscall(Syscall.SEND, ENDPOINT, length, words_of(120))
    assert got(scene.server.completion()).words == words_of(120)


def test_IPC0009_unwrapped_bits_are_the_kernels(scene: Pair) -> None:
    """What a sender writes into the capsUnwrapped bits does not reach the receiver."""
    assert receive(scene.server) is None
    scene.client.syscall(Syscall.SEND, ENDPOINT, abi.message_info(5, 1, 0, 7), (9,))
    assert got(scene.server.completion()).info == abi.message_info(5, 1)


@pytest.mark.parametrize("client", PRIORITIES)
@pytest.mark.parametrize("server", PRIORITIES)
def test_IPC0010_priorities(machine: Machine, client: int, server: int) -> None:
    """A call and its reply go through whatever the priorities of the two are, whoever comes first."""
    scene = pair(machine, client_priority=client, server_priority=server)
    assert call(scene.client, (1, 2)) is None
    assert got(receive(scene.server)).words == (1, 2)
    answer(scene.server, (3,))
    assert got(scene.client.completion()).words == (3,)
    assert receive(scene.server) is None
    assert call(scene.client, (4,)) is None
    assert got(scene.server.completion()).words == (4,)


def test_IPC0011_blocking(scene: Pair) -> None:
    """Send waits for a receiver, Recv for a sender, Call for the reply."""
    assert send(scene.client) is None
    assert scene.client.state is ThreadState.BLOCKED_ON_SEND
    got(receive(scene.server))
    got(scene.client.completion())
    assert receive(scene.server) is None
    assert scene.server.state is ThreadState.BLOCKED_ON_RECEIVE
    assert call(scene.client) is None
    assert scene.client.state is ThreadState.BLOCKED_ON_REPLY
    answer(scene.server)
    assert scene.client.state is ThreadState.RUNNING


def test_IPC0012_send_has_no_result(scene: Pair) -> None:
    """Send ends with no label, no words and no badge, whatever became of it."""
    assert receive(scene.server) is None
    done = got(send(scene.client, (1, 2, 3), label=44))
    assert (done.info, done.badge) == (0, 0)


def test_IPC0013_order_of_one_sender(scene: Pair) -> None:
    """Messages of one sender arrive in the order in which they were sent."""
    client = scene.client
    for number in range(8):
        client.submit(Syscall.SEND, ENDPOINT, abi.message_info(0, 1), (number,))
    scene.machine.run()
    assert [got(receive(scene.server)).words for _ in range(8)] == [(number,) for number in range(8)]


def test_IPC0014_short_message_leaves_the_buffer(scene: Pair) -> None:
    """Words behind a message's length are not written to the receiver's buffer."""
    assert receive(scene.server) is None
    send(scene.client, words_of(20))
    got(scene.server.completion())
    assert receive(scene.server) is None
    send(scene.client, words_of(6, 9))
    got(scene.server.completion())
    frame = scene.server.tcb.trap_frame + abi.IPC_MESSAGE
    assert scene.machine.ram.words(frame + 6 * 8, 14) == words_of(20)[6:]


def test_IPC0015_receiver_of_its_own_sends(scene: Pair) -> None:
    """A thread that receives on an endpoint can send on it too: it waits until another thread receives."""
    assert send(scene.server, (1,)) is None
    assert scene.server.state is ThreadState.BLOCKED_ON_SEND
    assert got(receive(scene.client)).words == (1,)


def test_IPC0016_kernel_object_replies(machine: Machine) -> None:
    """A Call on a kernel object is answered with label 0 and badge 0."""
    thread = machine.thread("caller")
    done = got(thread.syscall(Syscall.CALL, 250, words=(1 << 47,), label=Label.TCB_SET_TLS_BASE))
    assert (done.info, done.badge) == (0, 0)


def test_IPC0017_send_to_kernel_object(machine: Machine) -> None:
    """A Send on a kernel object invokes it without an answer: neither results nor errors come back."""
    reply = machine.retype(ObjectType.REPLY)
    slot = machine.new_slots()
    words = (slot, 64, reply, 64, 15)
    done = got(machine.root.syscall(Syscall.SEND, 2, words=words, label=Label.CNODE_COPY, caps=[2]))
    assert (done.info, held(machine, slot)) == (0, held(machine, reply))
    done = got(machine.root.syscall(Syscall.SEND, 2, words=words, label=Label.CNODE_COPY, caps=[2]))
    assert (done.info, done.words) == (0, ())


def test_IPC0018_two_endpoints_do_not_mix(machine: Machine) -> None:
    """A receiver gets messages from its endpoint alone."""
    scene = pair(machine)
    other = machine.retype(ObjectType.ENDPOINT)
    machine.grant(scene.client, other, SECOND)
    assert receive(scene.server) is None
    assert send(scene.client, (1,), SECOND) is None
    assert scene.server.completion() is None
    assert scene.server.state is ThreadState.BLOCKED_ON_RECEIVE
