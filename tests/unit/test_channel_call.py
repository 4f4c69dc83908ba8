"""Calls by a channel between two processes: messages, badges, sends, time-outs, late answers, several receivers."""

import os
import signal
import struct
from typing import Any

import pytest

from hw import cpu
from libsel4py import abi
from libsel4py.abi import ChannelRole, Status, Syscall
from tests.unit.channel_peer import (
    BADGE,
    CALLED,
    ENDPOINT,
    NUMBER,
    REPLY,
    bind,
    call,
    listen,
    pair,
    read_word,
    receive,
    reply_receive,
)

MILLISECOND = 1_000_000
DONE, CANCELLED = Status.DONE, Status.CANCELLED


def echo() -> None:
    """Answer each request with its own words."""
    listen()
    message = receive()
    while True:
        message = reply_receive(message[2], *message[3:])


def test_a_call_and_its_reply() -> None:
    info = abi.message_info(9, 4)

    def client() -> Any:
        bind()
        answers = [call(info, n, 2**64 - 1, 0, n * n) for n in range(5000)]
        return answers == [(DONE, 0, info, n, 2**64 - 1, 0, n * n) for n in range(5000)], cpu.channel_statistics()

    with pair() as scene:
        server, caller = scene.task(echo), scene.task(client)
        scene.connect(caller, server)
        scene.serve_until(caller)
        right, statistics = caller.task.result()
        assert right
        assert statistics[0] == 5000
        assert not caller.entries


def test_the_badge_is_the_kernels_word_and_not_the_pages() -> None:
    def server() -> Any:
        listen()
        return [receive()[1] for _ in range(2)]

    def client(number: int) -> Any:
        bind(number)
        return call(abi.message_info(1, 0))[0]  # nobody answers it

    with pair() as scene:
        serving = scene.task(server)
        for number, badge in ((NUMBER, 1), (NUMBER + 1, 2**63)):
            caller = scene.task(lambda number=number: client(number))
            scene.connect(caller, serving, number=number, badge=badge)
        scene.serve_until(serving)
        assert sorted(serving.task.result()) == [1, 2**63]


@pytest.mark.parametrize("length", [0, 1, 3, 4, 5, 60, 119, 120])
def test_messages_of_all_lengths(length: int) -> None:
    words = tuple(range(1000, 1000 + length))

    def client() -> Any:
        bind()
        cpu.message_write(4, struct.pack(f"<{max(length - 4, 0)}Q", *words[4:]))
        answer = call(abi.message_info(7, length), *words[:4])
        rest = cpu.message_read(4, max(length - 4, 0))
        return answer, struct.unpack(f"<{max(length - 4, 0)}Q", rest)

    with pair() as scene:
        server, caller = scene.task(echo), scene.task(client)
        scene.connect(caller, server)
        scene.serve_until(caller)
        answer, rest = caller.task.result()
        registers = (*words, 0, 0, 0, 0)[:4]
        assert answer == (DONE, 0, abi.message_info(7, length), *registers)
        assert rest == words[4:]


def test_a_message_with_capabilities_goes_by_the_kernel() -> None:
    def client() -> Any:
        bind()
        by_kernel = cpu.trap(Syscall.CALL, CALLED, abi.message_info(1, 0, 1), 0, 0, 0, 0)
        also = cpu.kernel_trap(Syscall.CALL, CALLED, abi.message_info(2, 0), 0, 0, 0, 0)
        return by_kernel[1], also[1], cpu.channel_statistics()[0]

    with pair() as scene:
        server, caller = scene.task(echo), scene.task(client)
        scene.connect(caller, server)
        scene.serve_until(caller)
        assert caller.task.result() == (CALLED, CALLED, 0)
        assert [entry.op for entry in caller.entries] == [Syscall.CALL, Syscall.CALL]


def test_a_reply_brings_no_capability() -> None:
    def server() -> Any:
        listen()
        receive()
        reply_receive(abi.message_info(3, 1, 2, 5), 11)

    def client() -> Any:
        bind()
        return call(abi.message_info(1, 0))

    with pair() as scene:
        serving, caller = scene.task(server), scene.task(client)
        scene.connect(caller, serving)
        scene.serve_until(caller)
        assert caller.task.result() == (DONE, 0, abi.message_info(3, 1), 11, 0, 0, 0)


def test_a_send_is_over_when_it_was_taken() -> None:
    def server() -> Any:
        listen()
        return [receive()[2:4] for _ in range(100)]

    def client() -> Any:
        bind()
        for n in range(100):
            assert cpu.trap(Syscall.SEND, CALLED, abi.message_info(5, 1), n, 0, 0, 0)[0] == DONE
        return cpu.channel_statistics()[0]

    with pair() as scene:
        serving, caller = scene.task(server), scene.task(client)
        scene.connect(caller, serving)
        scene.serve_until(caller, serving)
        assert caller.task.result() == 100
        assert serving.task.result() == [(abi.message_info(5, 1), n) for n in range(100)]


def test_a_call_that_nobody_takes_is_withdrawn() -> None:
    """Then it was not carried out: a server that comes later does not see it, and no later call meets an old
    answer's number when the numbers have come round."""

    def client() -> Any:
        bind()
        first = call(abi.message_info(1, 0), timeout_ns=5 * MILLISECOND)[0]
        second = call(abi.message_info(2, 0), timeout_ns=5 * MILLISECOND)[0]
        return first, second, cpu.channel_statistics()[4]

    with pair() as scene:
        caller = scene.task(client)
        page = scene.connect(caller)
        scene.serve_until(caller)
        assert caller.task.result() == (CANCELLED, CANCELLED, 0)
        assert read_word(page, abi.CHANNEL_STATE) == 2 << abi.CHANNEL_SEQUENCE_SHIFT | abi.ChannelState.IDLE
        assert read_word(page, abi.CHANNEL_DONE) == 2 << abi.CHANNEL_SEQUENCE_SHIFT | abi.CHANNEL_VALID


def test_a_call_that_was_taken_is_abandoned_and_its_answer_dropped() -> None:
    """Until the server has answered it, calls go by the kernel; afterwards by the channel again."""
    hold, go = os.pipe()

    def server() -> Any:
        listen()
        taken = receive()
        os.read(hold, 1)
        taken = reply_receive(taken[2], 111)
        reply_receive(taken[2], 222)

    def client() -> Any:
        bind()
        first = CANCELLED
        while first == CANCELLED and not cpu.channel_statistics()[4]:  # or it was withdrawn before the server came
            first = call(abi.message_info(1, 1), 1, timeout_ns=30 * MILLISECOND)[0]
        between = call(abi.message_info(1, 1), 2)[1:4]
        os.write(go, b"x")
        while (later := call(abi.message_info(1, 1), 3))[1] == CALLED:
            os.sched_yield()
        return first, between, later[3], cpu.channel_statistics()[4]

    with pair() as scene:
        serving, caller = scene.task(server), scene.task(client)
        scene.connect(caller, serving)
        scene.serve_until(caller)
        # The kernel of this test echoes: its badge is the called address.
        assert caller.task.result() == (CANCELLED, (CALLED, abi.message_info(1, 1), 2), 222, 1)
    os.close(hold)
    os.close(go)


def test_a_signal_handler_that_raises_ends_a_call() -> None:
    class Ring(Exception):
        pass

    def on_alarm(*_: object) -> None:
        raise Ring

    def client() -> Any:
        bind()
        signal.signal(signal.SIGALRM, on_alarm)
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        try:
            call(abi.message_info(1, 0))
        except Ring:
            return "rang"

    with pair() as scene:
        caller = scene.task(client)
        page = scene.connect(caller)
        scene.serve_until(caller)
        assert caller.task.result() == "rang"
        assert os.pread(page, 1, abi.CHANNEL_STATE)[0] & 7 == abi.ChannelState.IDLE


def test_an_answer_that_is_put_off() -> None:
    """The second caller is answered first. A handle is good for one answer."""

    def server() -> Any:
        listen()
        receive()
        first = cpu.detach()
        receive()
        second = cpu.detach()
        assert cpu.detach() == 0
        answered = [
            cpu.answer(handle, abi.message_info(0, 1), word, 0, 0, 0) for handle, word in ((second, 2), (first, 1))
        ]
        return answered, cpu.answer(first, 0, 0, 0, 0, 0), cpu.answer(12345, 0, 0, 0, 0, 0)

    def client(number: int) -> Any:
        bind(number)
        return call(abi.message_info(1, 0))[3]

    with pair() as scene:
        serving = scene.task(server)
        callers = []
        for number in (NUMBER, NUMBER + 1):
            callers.append(scene.task(lambda number=number: client(number)))
            scene.connect(callers[-1], serving, number=number)
        scene.serve_until(serving, *callers)
        assert serving.task.result() == ([True, True], False, False)
        assert sorted(caller.task.result() for caller in callers) == [1, 2]


def test_an_answer_that_was_given_is_not_taken_for_the_next_one_of_its_channel() -> None:
    def server() -> Any:
        listen()
        receive()
        first = cpu.detach()
        answered = [cpu.answer(first, abi.message_info(0, 1), 1, 0, 0, 0)]
        receive()
        second = cpu.detach()
        answered += [cpu.answer(handle, abi.message_info(0, 1), 2, 0, 0, 0) for handle in (first, second, second)]
        return answered

    def client() -> Any:
        bind()
        return [call(abi.message_info(1, 0), timeout_ns=10_000_000_000)[3] for _ in range(2)]

    with pair() as scene:
        caller, serving = scene.task(client), scene.task(server)
        scene.connect(caller, serving)
        scene.serve_until(caller, serving)
        assert serving.task.result() == [True, False, True, False]
        assert caller.task.result() == [1, 2]


def test_a_reply_by_send_on_the_reply_object() -> None:
    def server() -> Any:
        listen()
        info = receive()[2]
        cpu.trap(Syscall.SEND, REPLY, info, 42, 0, 0, 0)
        receive()

    def client() -> Any:
        bind()
        return call(abi.message_info(1, 1), 1)[3]

    with pair() as scene:
        serving, caller = scene.task(server), scene.task(client)
        scene.connect(caller, serving)
        scene.serve_until(caller)
        assert caller.task.result() == 42
        assert Syscall.SEND not in [entry.op for entry in serving.entries]


def test_polling_receives_look_at_channels() -> None:
    def server() -> Any:
        listen()
        empty = cpu.trap(Syscall.NB_RECV, ENDPOINT, 0, 0, 0, 0, 0, REPLY)
        while (message := cpu.trap(Syscall.NB_RECV, ENDPOINT, 0, 0, 0, 0, 0, REPLY))[0] == Status.EMPTY:
            os.sched_yield()
        cpu.trap(Syscall.SEND, REPLY, message[2], 5, 0, 0, 0)
        return empty[0], message[1]

    def client() -> Any:
        bind()
        return call(abi.message_info(1, 1), 1)[3]

    with pair() as scene:
        serving, caller = scene.task(server), scene.task(client)
        scene.connect(caller, serving)
        scene.serve_until(caller, serving)
        assert serving.task.result() == (Status.EMPTY, BADGE)
        assert caller.task.result() == 5


def test_several_receivers_share_one_channel_and_serve_each_request_once() -> None:
    calls = 3000

    def client() -> Any:
        bind()
        return all(call(abi.message_info(1, 1), n)[3] == n for n in range(calls))

    def server() -> Any:
        listen()
        count = 0
        message = receive()
        while message[3] != calls:
            count += 1
            message = reply_receive(message[2], message[3])
        return count

    def end_one(number: int) -> Any:
        bind(number)
        return call(abi.message_info(1, 1), calls)[0]  # nobody answers it

    with pair() as scene:
        servers = [scene.task(server) for _ in range(2)]
        caller = scene.task(client)
        scene.connect(caller, *servers)
        scene.serve_until(caller)
        assert caller.task.result()
        for number in (NUMBER + 1, NUMBER + 2):
            scene.connect(scene.task(lambda number=number: end_one(number)), *servers, number=number)
        scene.serve_until(*servers)
        assert sum(server.task.result() for server in servers) == calls


def test_binding_what_was_not_handed_over_is_refused() -> None:
    def client() -> Any:
        with pytest.raises(LookupError, match="channel 99 was not handed"):
            cpu.channel_bind(CALLED, 99, MILLISECOND)
        return cpu.channel_unbind(CALLED)

    with pair() as scene:
        caller = scene.task(client)
        scene.serve_until(caller)
        assert caller.task.result() is False


def test_a_receivers_channel_cannot_be_called_by() -> None:
    def client() -> Any:
        with pytest.raises(LookupError, match="receives by"):
            bind()

    with pair() as scene:
        task = scene.task(client)
        scene.connect(scene.task(echo), task)
        scene.serve_until(task)
        task.task.result()


def test_more_channels_than_a_thread_can_watch_are_refused() -> None:
    def idle() -> Any:
        listen()
        return receive()

    with pair() as scene:
        serving, caller = scene.task(idle), scene.task(idle)
        page = scene.connect(caller, serving)
        answers = [scene.open(serving, page, ChannelRole.SERVER, 1000 + n, n, 1) for n in range(130)]
        assert answers.count(0) == 123
        assert set(answers) == {0, 24}
