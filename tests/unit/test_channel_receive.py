"""Receiving by channels and from the kernel at once: hints, posted receives, turns, signals, and sleep."""

import itertools
import os
import select
import struct
from typing import Any

import pytest

from hw import cpu, ring
from libsel4py import abi
from libsel4py.abi import ChannelRole, Status, Syscall
from tests.unit.channel_peer import (
    BADGE,
    CALLED,
    ENDPOINT,
    NUMBER,
    REPLY,
    Kernel,
    Pair,
    bind,
    call,
    listen,
    make_page,
    pair,
    read_word,
    receive,
    reply_receive,
)

MILLISECOND = 1_000_000
SIGNALLED = 40
INFO = abi.message_info(1, 1)


def serve(stop: int) -> list[tuple[int, int]]:
    """Answer each request with its word; the badges and words of all until a word is ``stop``, which gets no answer."""
    seen = []
    listen()
    message = receive()
    while message[3] != stop:
        seen.append((message[1], message[3]))
        message = reply_receive(message[2], message[3])
    return seen


def pump_until(scene: Pair, condition: Any) -> None:
    while not condition():
        scene.pump()
        os.sched_yield()


def test_without_channels_it_waits_in_the_kernel_at_once() -> None:
    with pair() as scene:
        server = scene.task(lambda: serve(0))
        pump_until(scene, lambda: server.posted is not None)
        assert [entry.op for entry in server.entries] == [Syscall.RECV]
        server.send(9, 1, 0)
        scene.serve_until(server)
        assert server.task.result() == []


def test_a_channel_that_comes_while_it_is_blocked_is_served() -> None:
    def client() -> Any:
        bind()
        return call(INFO, 5)[3]

    with pair() as scene:
        server = scene.task(lambda: serve(0))
        pump_until(scene, lambda: server.posted is not None)
        caller = scene.task(client)
        scene.connect(caller, server)
        scene.serve_until(caller)
        assert caller.task.result() == 5
        # The receive that was blocked was taken back before the request was taken.
        assert Syscall.CANCEL in [entry.op for entry in server.entries]


def test_a_hint_makes_it_poll_the_kernel() -> None:
    def client() -> Any:
        bind()
        for n in range(1, 200):
            assert call(INFO, n)[3] == n

    with pair() as scene:
        server, caller = scene.task(lambda: serve(0)), scene.task(client)
        scene.connect(caller, server)
        for n in range(1000, 1003):
            server.send(n, 1, n)
        scene.serve_until(caller)
        server.send(9, 1, 0)
        scene.serve_until(server)
        seen = server.task.result()
        assert [each for each in seen if each[0] == BADGE] == [(BADGE, n) for n in range(1, 200)]
        assert [each for each in seen if each[0] != BADGE] == [(n, n) for n in range(1000, 1003)]


def test_neither_side_starves_the_other() -> None:
    """While a client calls without pause, every message of the kernel gets its turn within a few requests."""
    with pair() as scene:

        def client() -> Any:
            bind()
            while True:
                call(INFO, 7)

        # However many requests were served: the result has to fit the pipe that nobody reads before the end.
        server = scene.task(lambda: [badge for badge, _ in serve(0) if badge != BADGE])
        caller = scene.task(client)
        scene.connect(caller, server)
        for n in range(20):
            server.send(100 + n, 1, 100 + n)
            pump_until(scene, lambda: not server.queued)
        server.send(9, 1, 0)
        scene.serve_until(server)
        assert server.task.result() == [100 + n for n in range(20)]


def test_requests_that_always_wait_do_not_starve_the_kernels_messages() -> None:
    """The server is so slow that another client's request is there whenever it receives, and has its own processor."""
    first, *others = sorted(os.sched_getaffinity(0))

    def serve_slowly() -> None:
        os.sched_setaffinity(0, {first})
        listen()
        message = receive()
        while message[3]:
            for _ in range(20_000):
                pass
            message = reply_receive(message[2], message[3])

    def client(number: int) -> Any:
        os.sched_setaffinity(0, others or {first})
        bind(number)
        while True:
            call(INFO, 7)

    with pair() as scene:
        server = scene.task(serve_slowly)
        pages = []
        for number in range(NUMBER, NUMBER + 4):
            pages.append(scene.connect(scene.task(lambda number=number: client(number)), server, number=number))

        def served() -> list[int]:
            return [read_word(page, abi.CHANNEL_DONE) >> 16 for page in pages]

        pump_until(scene, lambda: min(served()) > 10)
        server.send(9, 1, 0)
        before = sum(served())
        scene.serve_until(server)
        server.task.result()
        assert sum(served()) - before <= 4


@pytest.mark.parametrize("clients", [2, 3, 12])
def test_no_client_is_served_more_than_16_times_in_a_row_while_others_wait(clients: int) -> None:
    """All have posted whenever the server receives: who was served last is looked at first, and not for ever."""
    pages, offset = [make_page() for _ in range(clients)], abi.CHANNEL_POSTED

    def post(client: int, sequence: int) -> None:
        os.pwrite(pages[client], struct.pack("<I", sequence << abi.CHANNEL_SEQUENCE_SHIFT | abi.CHANNEL_VALID), offset)

    def server() -> list[int]:
        listen()
        cpu.trap(Syscall.NB_RECV, ENDPOINT, 0, 0, 0, 0, 0, REPLY)
        os.write(told, b"x")
        os.read(hold, 1)
        sequences = [1] * clients
        for client in range(clients):
            post(client, 1)
        served = [receive()[1]]
        for _ in range(40 * clients):
            sequences[served[-1]] += 1
            post(served[-1], sequences[served[-1]])
            served.append(receive()[1])
        return served

    tell, told = os.pipe()
    hold, go = os.pipe()
    with pair() as scene:
        serving = scene.task(server)
        while not select.select([tell], [], [], 0)[0]:
            scene.pump()
        for client, page in enumerate(pages):
            assert not scene.open(serving, page, ChannelRole.SERVER, NUMBER + client, client, 1)
        os.write(go, b"x")
        served = serving.task.result()
    for descriptor in (tell, told, hold, go, *pages):
        os.close(descriptor)
    runs = [len(list(run)) for _, run in itertools.groupby(served)]
    assert set(served) == set(range(clients))
    assert max(runs) == 16


def test_never_two_messages_at_once() -> None:
    """A message that the kernel delivered while its receive was being taken back comes first; the request waits."""

    class Late(Kernel):
        """Delivers a message just when the receive is cancelled."""

        def _serve(self, entry: Any) -> None:
            if entry.op == Syscall.CANCEL and self.posted is not None:
                self.send(500, 1, 500)
            super()._serve(entry)

    def client() -> Any:
        bind()
        return call(INFO, 5)[3]

    with pair() as scene:
        server = scene.task(lambda: serve(0))
        server.__class__ = Late
        pump_until(scene, lambda: server.posted is not None)
        caller = scene.task(client)
        scene.connect(caller, server)
        scene.serve_until(caller)
        assert caller.task.result() == 5
        server.send(9, 1, 0)
        scene.serve_until(server)
        assert server.task.result() == [(500, 500), (BADGE, 5)]


def test_an_idle_receiver_is_blocked_in_the_kernel() -> None:
    def client() -> Any:
        bind()
        return call(INFO, 5)[3]

    with pair() as scene:
        server, caller = scene.task(lambda: serve(0)), scene.task(client)
        scene.connect(caller, server)
        scene.serve_until(caller)
        assert caller.task.result() == 5
        pump_until(scene, lambda: server.posted is not None)


def test_a_timed_receive_leaves_nothing_posted() -> None:
    def server() -> Any:
        listen()
        return [cpu.trap(Syscall.RECV, ENDPOINT, 0, 0, 0, 0, 0, REPLY, 0, n * MILLISECOND)[0] for n in (0, 1, 20)]

    with pair() as scene:
        serving = scene.task(server)
        scene.serve_until(serving)
        assert serving.task.result() == [Status.CANCELLED] * 3
        assert serving.posted is None


def test_replies_go_back_the_way_that_the_request_came() -> None:
    """Requests by the kernel are answered by the kernel, with REPLY_RECV or a send on the reply object."""

    def client() -> Any:
        bind()
        return [call(INFO, n)[3] for n in range(1, 5)]

    with pair() as scene:
        server, caller = scene.task(lambda: serve(0)), scene.task(client)
        server.send(11, 1, 11)
        scene.connect(caller, server)
        scene.serve_until(caller)
        server.send(12, 1, 12)
        server.send(9, 1, 0)
        scene.serve_until(server)
        assert caller.task.result() == [1, 2, 3, 4]
        answers = [
            entry.mr0
            for entry in server.entries
            if entry.op == Syscall.REPLY_RECV or (entry.op == Syscall.NB_SEND and entry.cptr == REPLY)
        ]
        assert answers == [11, 12]


def connect_signals(scene: Pair, signaller: Kernel, waiter: Kernel, number: int, badge: int) -> None:
    page = make_page()
    scene.stack.callback(os.close, page)
    assert not scene.open(waiter, page, ChannelRole.WAITER, number, badge, 1)
    assert not scene.open(signaller, page, ChannelRole.SIGNALLER, number, badge, 0)


def test_signals_are_bits_of_the_badge_and_none_is_lost() -> None:
    bits, rounds = 3, 20_000

    def signaller() -> Any:
        for bit in range(bits):
            cpu.channel_bind(SIGNALLED + bit, NUMBER + bit, 10_000 * MILLISECOND)
        cpu.channel_listen(ENDPOINT)
        for n in range(rounds):
            cpu.signal_many([SIGNALLED + n % bits])
        cpu.signal_many([SIGNALLED, SIGNALLED + 1, SIGNALLED + 2])
        return cpu.channel_statistics()

    def waiter() -> Any:
        listen()
        seen, times = 0, 0
        while seen != 0b1110 or times < 10:
            signals = cpu.trap(Syscall.WAIT, ENDPOINT, 0, 0, 0, 0, 0)[1]
            assert signals
            assert not signals & ~0b1110
            seen |= signals
            times += 1
        return seen

    with pair() as scene:
        waiting, signalling = scene.task(waiter), scene.task(signaller)
        for bit in range(bits):
            connect_signals(scene, signalling, waiting, NUMBER + bit, 2 << bit)
        scene.serve_until(signalling)
        signalling.task.result()
        assert not signalling.entries
        waiting.send(0b10, 0)  # through the kernel, in case that fewer than ten waits saw all
        for _ in range(10):
            waiting.send(0b10, 0)
        scene.serve_until(waiting)
        assert waiting.task.result() == 0b1110


def test_a_send_to_a_connected_notification_is_a_signal() -> None:
    """It returns though nobody waits; a call there is the kernel's."""

    def signaller() -> Any:
        cpu.channel_bind(SIGNALLED, NUMBER, 10_000 * MILLISECOND)
        sent = [cpu.trap(Syscall.SEND, SIGNALLED, 0, 0, 0, 0, 0)[:2] for _ in range(3)]
        return sent, cpu.trap(Syscall.CALL, SIGNALLED, 0, 0, 0, 0, 0)[1]

    def waiter() -> Any:
        listen()
        return cpu.trap(Syscall.WAIT, ENDPOINT, 0, 0, 0, 0, 0)[1]

    with pair() as scene:
        waiting, signalling = scene.task(waiter), scene.task(signaller)
        connect_signals(scene, signalling, waiting, NUMBER, 4)
        scene.serve_until(signalling, waiting)
        assert signalling.task.result() == ([(Status.DONE, 0)] * 3, SIGNALLED)
        assert [entry.op for entry in signalling.entries] == [Syscall.CALL]
        assert waiting.task.result() == 4


def test_many_signals_leave_a_channel_for_calls_alone() -> None:
    """What is signalled beside notifications gets it by the kernel; the sleeping server sees no request but calls."""
    info = abi.message_info(1, 1)
    asleep, go_on = os.pipe()

    def client() -> Any:
        bind()
        first = call(info, 7)
        os.read(asleep, 1)
        cpu.signal_many([CALLED])
        return first, call(info, 8, timeout_ns=10_000 * MILLISECOND)

    def server() -> Any:
        listen()
        seen = [receive()[3]]
        return [*seen, reply_receive(info, 1)[3], reply_receive(info, 2, timeout_ns=100 * MILLISECOND)[0]]

    with pair() as scene:
        serving, caller = scene.task(server), scene.task(client)
        page = scene.connect(caller, serving)

        def served_and_asleep() -> bool:
            sleepers = read_word(page, abi.CHANNEL_SLEEPERS)
            return bool(read_word(page, abi.CHANNEL_DONE) >> 16 and sleepers & abi.CHANNEL_SLEEPING)

        pump_until(scene, served_and_asleep)
        os.write(go_on, b"x")
        scene.serve_until(caller, serving)
        assert caller.task.result() == ((Status.DONE, 0, info, 1, 0, 0, 0), (Status.DONE, 0, info, 2, 0, 0, 0))
        assert serving.task.result() == [7, 8, Status.CANCELLED]
        assert [(entry.op, entry.cptr) for entry in caller.entries] == [(Syscall.NB_SEND, CALLED)]
    for descriptor in (asleep, go_on):
        os.close(descriptor)


def test_a_retracted_receive_is_no_message_of_the_kernel() -> None:
    """The server has slept for long, so that its receive is posted; a call by channel retracts it."""

    def server() -> Any:
        listen()
        receive()
        return cpu.channel_statistics()[3]

    def client() -> Any:
        bind()
        call(abi.message_info(1, 0))  # nobody answers it

    with pair() as scene:
        serving = scene.task(server)
        pump_until(scene, lambda: serving.posted is not None)
        caller = scene.task(client)
        scene.connect(caller, serving)
        scene.serve_until(serving)
        assert Syscall.CANCEL in [entry.op for entry in serving.entries]
        assert serving.task.result() == 0


def test_a_signal_wakes_a_sleeping_waiter() -> None:
    back, forth = os.pipe()
    heard, tell = os.pipe()

    def waiter() -> Any:
        listen()
        seen = []
        for _ in range(50):
            seen.append(cpu.trap(Syscall.WAIT, ENDPOINT, 0, 0, 0, 0, 0)[1])
            os.write(tell, b"x")
        return seen

    def signaller() -> Any:
        cpu.channel_bind(SIGNALLED, NUMBER, 10_000 * MILLISECOND)
        for _ in range(50):
            os.read(back, 1)
            cpu.signal_many([SIGNALLED])

    with pair() as scene:
        waiting, signalling = scene.task(waiter), scene.task(signaller)
        connect_signals(scene, signalling, waiting, NUMBER, 4)

        def asleep() -> bool:
            return bool(struct.unpack("<I", waiting.peer.ram.read(abi.TASK_WAITING, 4))[0])

        for _ in range(50):
            pump_until(scene, lambda: asleep() or waiting.task.has_ended(0))
            os.write(forth, b"x")
            pump_until(scene, lambda: select.select([heard], [], [], 0)[0])
            os.read(heard, 1)
        scene.serve_until(waiting)
        assert waiting.task.result() == [4] * 50
    for descriptor in (back, forth, heard, tell):
        os.close(descriptor)


def test_a_page_cannot_signal_what_its_badge_does_not_allow() -> None:
    def waiter() -> Any:
        listen()
        return cpu.trap(Syscall.WAIT, ENDPOINT, 0, 0, 0, 0, 0)[1]

    with pair() as scene:
        waiting = scene.task(waiter)
        page = make_page()
        scene.stack.callback(os.close, page)
        os.pwrite(page, struct.pack("<Q", 2**64 - 1), abi.CHANNEL_SIGNALS)
        assert not scene.open(waiting, page, ChannelRole.WAITER, NUMBER, 0b101, 1)
        scene.serve_until(waiting)
        assert waiting.task.result() == 0b101


def test_what_is_not_listened_to_goes_to_the_kernel() -> None:
    def server() -> Any:
        listen()
        other = cpu.trap(Syscall.CALL, CALLED, INFO, 1, 0, 0, 0)
        cpu.channel_listen(0)
        return other[1], receive()[1]

    with pair() as scene:
        serving = scene.task(server)
        serving.queued.append((7, INFO, (1,)))
        scene.serve_until(serving)
        assert serving.task.result() == (CALLED, 7)


def test_a_hint_before_sleep_is_not_lost() -> None:
    """2,000 messages of the kernel, each sent at any moment of the receiver's going to sleep."""
    with pair() as scene:
        server = scene.task(lambda: serve(0))
        page = make_page()
        scene.stack.callback(os.close, page)
        assert not scene.open(server, page, ChannelRole.SERVER, NUMBER, BADGE, 1)
        for n in range(1, 2001):
            server.send(n, 1, n)
            pump_until(scene, lambda: not server.queued)
            for _ in range(n % 50):
                ring.watch(server.peer.ram, 0, server.peer.consumed, 1)
        ring.watch(server.peer.ram, 0, server.peer.consumed, 0)  # from here on the doorbell is waited for
        server.send(9, 1, 0)
        scene.serve_until(server)
        assert [each[0] for each in server.task.result()] == list(range(1, 2001))
