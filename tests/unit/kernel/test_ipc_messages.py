"""Message words: every length, who waits first, badges, truncation (seL4 Reference Manual 4.2)."""

import pytest

from kerneld.records import EndpointState, ThreadState
from libsel4py import abi
from libsel4py.abi import Error, Rights, Status, Syscall
from tests.harness import OWN_REPLY

from .scene import ENDPOINT, Scene, call, message, receive, reply_receive, send


def words_of(length: int) -> tuple[int, ...]:
    return tuple(abi.WORD_MASK - index for index in range(length))


def test_every_length_arrives_at_a_waiting_receiver_and_comes_back() -> None:
    scene = Scene()
    server, client = scene.thread("server"), scene.thread("client", badge=7)
    assert receive(server) is None
    for length in range(abi.MESSAGE_MAX_LENGTH + 1):
        assert call(client, words_of(length), label=length) is None
        assert client.state is ThreadState.BLOCKED_ON_REPLY
        assert message(server.completion()) == (7, length, words_of(length))
        assert reply_receive(server, words_of(length)[::-1], label=length + 1) is None
        assert message(client.completion()) == (0, length + 1, words_of(length)[::-1])


@pytest.mark.parametrize("length", [0, 1, 3, 4, 5, 8, 64, 119, 120])
def test_a_blocked_sender_s_message_is_delivered_when_somebody_receives(length: int) -> None:
    scene = Scene()
    server, client = scene.thread("server"), scene.thread("client", badge=9)
    assert send(client, words_of(length), label=3) is None
    assert client.state is ThreadState.BLOCKED_ON_SEND
    assert message(receive(server)) == (9, 3, words_of(length))
    done = client.completion()
    assert done is not None
    assert (done.status, client.state) == (Status.DONE, ThreadState.RUNNING)
    assert scene.endpoint_record().state == EndpointState.IDLE


def test_a_length_above_the_limit_is_cut_to_120() -> None:
    scene = Scene()
    server, client = scene.thread("server"), scene.thread("client")
    receive(server)
    info = abi.message_info(1, 120) | 127
    assert client.syscall(Syscall.SEND, ENDPOINT, info, words_of(120)) is not None
    assert message(server.completion()) == (0, 1, words_of(120))


def test_registers_that_the_message_does_not_have_arrive_as_zero() -> None:
    scene = Scene()
    server, client = scene.thread("server"), scene.thread("client")
    receive(server)
    client.syscall(Syscall.SEND, ENDPOINT, abi.message_info(0, 1), (1, 2, 3, 4))
    done = server.completion()
    assert done is not None
    assert done.registers == (1, 0, 0, 0)


def test_an_inline_receiver_gets_four_words() -> None:
    scene = Scene()
    server, client = scene.thread("server"), scene.thread("client")
    assert server.syscall(Syscall.RECV, ENDPOINT, reply=OWN_REPLY, inline=True) is None
    send(client, words_of(9), label=2)
    assert message(server.completion()) == (0, 2, words_of(4))


def test_an_inline_sender_s_words_come_from_its_entry() -> None:
    scene = Scene()
    server, client = scene.thread("server"), scene.thread("client")
    receive(server)
    client.syscall(Syscall.SEND, ENDPOINT, words=words_of(7), inline=True)
    assert message(server.completion()) == (0, 0, words_of(7))


def test_a_long_message_is_read_when_it_is_delivered() -> None:
    scene = Scene()
    server, client = scene.thread("server"), scene.thread("client")
    send(client, (0, 1, 2, 3, 4, 5))
    scene.machine.poke_words(client.tcb.trap_frame + abi.IPC_MESSAGE + 4 * abi.WORD_BYTES, (44, 55))
    assert message(receive(server)) == (0, 0, (0, 1, 2, 3, 44, 55))


def test_a_plain_sender_goes_on_at_once_when_somebody_waits() -> None:
    scene = Scene()
    server, client = scene.thread("server"), scene.thread("client")
    receive(server)
    done = send(client, (1,))
    assert done is not None
    assert (done.badge, done.info, client.state) == (0, 0, ThreadState.RUNNING)


@pytest.mark.parametrize("rights", [Rights.NONE, Rights.READ, Rights.READ | Rights.GRANT | Rights.GRANT_REPLY])
def test_sending_needs_write(rights: int) -> None:
    scene = Scene()
    server, client = scene.thread("server"), scene.thread("client", rights=rights)
    receive(server)
    assert message(call(client, (1,))) == (0, Error.INVALID_CAPABILITY, (0,))
    assert send(client, (1,)) is not None
    assert server.state is ThreadState.BLOCKED_ON_RECEIVE


@pytest.mark.parametrize("receiver_first", [True, False])
@pytest.mark.parametrize(
    ("rights", "state"),
    [
        (Rights.WRITE, ThreadState.INACTIVE),
        (Rights.WRITE | Rights.READ, ThreadState.INACTIVE),
        (Rights.WRITE | Rights.GRANT, ThreadState.BLOCKED_ON_REPLY),
        (Rights.WRITE | Rights.GRANT_REPLY, ThreadState.BLOCKED_ON_REPLY),
        (Rights.ALL, ThreadState.BLOCKED_ON_REPLY),
    ],
)
def test_a_caller_waits_for_the_reply_only_if_it_may_be_replied_to(
    receiver_first: bool, rights: int, state: ThreadState
) -> None:
    scene = Scene()
    server, client = scene.thread("server"), scene.thread("client", rights=rights)
    if receiver_first:
        receive(server)
        assert call(client, (5,)) is None
        done = server.completion()
    else:
        assert call(client, (5,)) is None
        done = receive(server)
    assert message(done) == (0, 0, (5,))
    assert client.state is state
    assert server.state is ThreadState.RUNNING


@pytest.mark.parametrize("receiver_first", [True, False])
def test_a_call_that_meets_a_receiver_without_reply_object_stops_the_caller(receiver_first: bool) -> None:
    scene = Scene()
    server, client = scene.thread("server"), scene.thread("client")
    if receiver_first:
        assert server.syscall(Syscall.WAIT, ENDPOINT) is None
        call(client, (5,))
        done = server.completion()
    else:
        call(client, (5,))
        done = server.syscall(Syscall.WAIT, ENDPOINT)
    assert message(done) == (0, 0, (5,))
    assert client.state is ThreadState.INACTIVE


def test_non_blocking_sends_are_dropped_when_nobody_waits_and_delivered_when_somebody_does() -> None:
    scene = Scene()
    server, client = scene.thread("server"), scene.thread("client")
    assert client.syscall(Syscall.NB_SEND, ENDPOINT, words=(1,)) is not None
    assert scene.endpoint_record().head is None
    assert receive(server) is None
    assert client.syscall(Syscall.NB_SEND, ENDPOINT, words=(2,)) is not None
    assert message(server.completion()) == (0, 0, (2,))


def test_cancel_ends_a_blocked_send_and_a_blocked_receive() -> None:
    scene = Scene()
    server, client = scene.thread("server"), scene.thread("client")
    for blocked in (lambda: receive(client), lambda: send(client, (1,)), lambda: call(client, (1,))):
        assert blocked() is None
        client.submit(Syscall.CANCEL)
        scene.machine.run()
        done, own = client.completion(), client.completion()
        assert done is not None
        assert own is not None
        assert (done.status, own.status) == (Status.CANCELLED, Status.DONE)
        assert client.state is ThreadState.RUNNING
        assert scene.endpoint_record().state == EndpointState.IDLE
    assert receive(server) is None


def test_cancel_ends_the_wait_for_a_reply_and_the_reply_then_goes_nowhere() -> None:
    scene = Scene()
    server, client = scene.thread("server"), scene.thread("client")
    receive(server)
    call(client, (1,))
    client.submit(Syscall.CANCEL)
    scene.machine.run()
    done = client.completion()
    assert done is not None
    assert done.status is Status.CANCELLED
    server.completion()
    assert reply_receive(server, (2,)) is None
    client.completion()
    assert client.completion() is None
