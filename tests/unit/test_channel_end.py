"""The end of channels: revocation, death and suspension at any moment, and pages that a peer scribbles over."""

import mmap
import os
import random
import resource
import select
import signal
import struct
from pathlib import Path
from typing import Any

import pytest

from hw import cpu
from libsel4py import abi
from libsel4py.abi import ControlOp, Error, Status
from tests.unit.channel_peer import (
    CALLED,
    NUMBER,
    Kernel,
    Pair,
    bind,
    call,
    listen,
    pair,
    read_word,
    receive,
    reply_receive,
)

INFO = abi.message_info(1, 1)
INVALID = abi.message_info(Error.INVALID_CAPABILITY, 1)
MILLISECOND = 1_000_000


def echo() -> None:
    listen()
    message = receive()
    while True:
        message = reply_receive(message[2], *message[3:])


def call_until_refused() -> Any:
    """How many calls by the channel were answered right, what the one that was refused got, and the one after it."""
    bind()
    count = 0
    while (answer := call(INFO, count + 1))[1:4] == (0, INFO, count + 1):
        count += 1
    return count, answer[:3], call(INFO, 5)[1]


def wait_asleep(kernel: Kernel) -> None:
    """Wait until the host says that the task sleeps. proc(5)."""
    while Path(f"/proc/{kernel.task.pid}/stat").read_text().rpartition(")")[2].split()[0] != "S":
        os.sched_yield()


def pump_until_ready(scene: Pair, descriptor: int) -> None:
    while not select.select([descriptor], [], [], 0)[0]:
        scene.pump()
        os.sched_yield()


@pytest.mark.parametrize("server_is_told", [True, False])
def test_a_revoked_channel_is_refused_and_the_server_goes_on(server_is_told: bool) -> None:
    """A server finds out by itself that a page is gone."""
    with pair() as scene:
        server = scene.task(echo)
        caller = scene.task(call_until_refused)
        page = scene.connect(caller, server)
        while read_word(page, abi.CHANNEL_POSTED) >> 16 < 100:
            scene.pump()
        scene.revoke(page, *((server, caller) if server_is_told else (caller,)))
        scene.serve_until(caller)
        count, refused, later = caller.task.result()
        assert count >= 99
        # The refused call was on its way when the page went, or went to the kernel (here: an echo) at once.
        assert refused in ((Status.DONE, 0, INVALID), (Status.DONE, CALLED, INFO))
        assert later == CALLED
        again = scene.task(call_until_refused)
        page = scene.connect(again, server, number=NUMBER)
        while read_word(page, abi.CHANNEL_POSTED) >> 16 < 100:
            scene.pump()


@pytest.mark.parametrize(
    "closed",
    [(NUMBER,), (NUMBER + 1, NUMBER), (0, 0, 0, 0, 0, NUMBER + 1 | NUMBER << 32)],
    ids=["alone", "with_one_that_was_given_back", "last_of_twelve"],
)
def test_revocation_wakes_a_client_that_sleeps(closed: tuple[int, ...]) -> None:
    def client() -> Any:
        bind()
        return call(INFO, 1)[:3]

    with pair() as scene:
        caller = scene.task(client)
        page = scene.connect(caller)
        while not read_word(page, abi.CHANNEL_DONE) & abi.CHANNEL_WAITER:
            scene.pump()
        wait_asleep(caller)
        os.ftruncate(page, 0)
        scene.tell(caller, ControlOp.CHANNEL_CLOSE, *closed)
        scene.serve_until(caller)
        assert caller.task.result() == (Status.DONE, 0, INVALID)


def test_a_client_that_sleeps_on_a_page_that_went_looks_at_a_signal() -> None:
    """The keeper need not have come to it yet."""

    def client() -> Any:
        bind()
        return call(INFO, 1)[:3]

    with pair() as scene:
        caller = scene.task(client)
        page = scene.connect(caller)
        while not read_word(page, abi.CHANNEL_DONE) & abi.CHANNEL_WAITER:
            scene.pump()
        wait_asleep(caller)
        os.ftruncate(page, 0)
        signal.pidfd_send_signal(caller.task.pidfd, signal.SIGURG)
        scene.serve_until(caller)
        assert caller.task.result() == (Status.DONE, 0, INVALID)


def use_up_memory() -> None:
    """From here on not one more page of private memory is to be had."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    held = int(status["VmData"].split()[0]) * 1024
    resource.setrlimit(resource.RLIMIT_DATA, (held, held))


def test_a_client_without_memory_left_survives_its_page() -> None:
    """The page that takes the place of one that is gone was put by."""

    def client() -> Any:
        bind()
        use_up_memory()
        with pytest.raises(OSError, match="Cannot allocate"):
            mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        return call(INFO, 1)[:3]

    with pair() as scene:
        caller = scene.task(client)
        page = scene.connect(caller)
        while not read_word(page, abi.CHANNEL_DONE) & abi.CHANNEL_WAITER:
            scene.pump()
        wait_asleep(caller)
        os.ftruncate(page, 0)
        scene.tell(caller, ControlOp.CHANNEL_CLOSE, NUMBER)
        scene.serve_until(caller)
        assert caller.task.result() == (Status.DONE, 0, INVALID)


def test_a_server_that_has_taken_a_request_survives_its_page() -> None:
    told, tell = os.pipe()
    hold, go = os.pipe()

    def server() -> Any:
        listen()
        taken = receive()
        os.write(tell, b"x")
        os.read(hold, 1)
        return reply_receive(taken[2], 1)[3]

    def client() -> Any:
        bind()
        return call(INFO, 8)[:3]

    with pair() as scene:
        serving, caller = scene.task(server), scene.task(client)
        page = scene.connect(caller, serving)
        pump_until_ready(scene, told)
        scene.revoke(page, caller)
        os.write(go, b"x")
        other = scene.task(client)
        scene.serve_until(caller)
        scene.connect(other, serving, number=NUMBER)
        scene.serve_until(serving)
        assert serving.task.result() == 8
        assert caller.task.result() == (Status.DONE, 0, INVALID)
    for descriptor in (told, tell, hold, go):
        os.close(descriptor)


def test_what_a_dead_server_had_taken_ends_and_what_it_had_not_waits_for_the_successor() -> None:
    told, tell = os.pipe()

    def server() -> Any:
        listen()
        receive()
        os.write(tell, b"x")
        while True:
            signal.pause()

    def client(number: int) -> Any:
        bind(number)
        return call(INFO, number)[:4]

    with pair() as scene:
        first = scene.task(server)
        callers = [scene.task(lambda n=n: client(n)) for n in (NUMBER, NUMBER + 1)]
        pages = [scene.connect(caller, first, number=NUMBER + n) for n, caller in enumerate(callers)]
        pump_until_ready(scene, told)
        while not all(read_word(page, abi.CHANNEL_POSTED) >> 16 for page in pages):
            scene.pump()
        states = [read_word(page, abi.CHANNEL_STATE) & 7 for page in pages]
        assert sorted(states) == [abi.ChannelState.IDLE, abi.ChannelState.TAKEN]
        signal.pidfd_send_signal(first.task.pidfd, signal.SIGKILL)
        first.task.reap()
        scene.kernels.remove(first)
        for n, caller in enumerate(callers):
            scene.tell(caller, ControlOp.RECEIVER_DIED, NUMBER + n, 1)
        successor = scene.task(echo)
        for n, page in enumerate(pages):
            assert not scene.open(successor, page, abi.ChannelRole.SERVER, NUMBER + n, 5, 2)
        scene.serve_until(*callers)
        results = [caller.task.result() for caller in callers]
        for state, result, number in zip(states, results, (NUMBER, NUMBER + 1), strict=True):
            if state == abi.ChannelState.TAKEN:
                assert result[0] == Status.SERVER_DIED
            else:
                assert result == (Status.DONE, 0, INFO, number)
    os.close(told)
    os.close(tell)


def test_the_death_of_another_receiver_ends_nothing() -> None:
    told, tell = os.pipe()
    hold, go = os.pipe()

    def server() -> Any:
        listen()
        taken = receive()
        os.write(tell, b"x")
        os.read(hold, 1)
        reply_receive(taken[2], 99)

    def client() -> Any:
        bind()
        return call(INFO, 8)[0:4]

    with pair() as scene:
        serving, caller = scene.task(server), scene.task(client)
        scene.connect(caller, serving)
        pump_until_ready(scene, told)
        assert not caller.task.ask(ControlOp.RECEIVER_DIED, words=(NUMBER, 2))
        os.write(go, b"x")
        scene.serve_until(caller)
        assert caller.task.result() == (Status.DONE, 0, INFO, 99)
    for descriptor in (told, tell, hold, go):
        os.close(descriptor)


def test_the_places_of_channels_that_are_gone_are_used_again() -> None:
    """More channels come and go than there are places, on both sides."""
    count = 600
    done, tell = os.pipe()

    def client() -> Any:
        for n in range(count):
            bind(n)
            assert call(INFO, n)[1:4] == (0, INFO, n)
            os.write(tell, b"x")

    with pair() as scene:
        server, caller = scene.task(echo), scene.task(client)
        for n in range(count):
            page = scene.connect(caller, server, number=n)
            pump_until_ready(scene, done)
            os.read(done, 1)
            scene.revoke(page, server, caller, number=n)
        scene.serve_until(caller)
        caller.task.result()
    os.close(done)
    os.close(tell)


def test_a_suspended_client_goes_on_where_it_was() -> None:
    def client() -> Any:
        bind()
        return [call(INFO, n)[3] for n in range(20_000)] == list(range(20_000)), cpu.channel_statistics()[0]

    with pair() as scene:
        server, caller = scene.task(echo), scene.task(client)
        scene.connect(caller, server)
        for _ in range(20):
            for kernel in (caller, server):
                kernel.task.ask(ControlOp.PARK)
                kernel.task.ask(ControlOp.UNPARK)
        scene.serve_until(caller)
        assert caller.task.result() == (True, 20_000)


SCRIBBLES = ("state", "done", "info", "everything", "random")


@pytest.mark.parametrize("what", SCRIBBLES)
def test_a_page_that_is_scribbled_over_hurts_its_own_calls_alone(what: str) -> None:
    """One client's page is written all over while another one calls: its answers are right, and the server lives."""
    chance = random.Random(what)

    def good() -> Any:
        bind(NUMBER + 1)
        return all(call(INFO, n)[1:4] == (0, INFO, n) for n in range(10_000))

    def bad() -> Any:
        bind()
        while True:
            call(abi.message_info(chance.randrange(1 << 20), chance.randrange(121)), 1, timeout_ns=MILLISECOND)

    def scribble(page: int) -> None:
        match what:
            case "state":
                os.pwrite(
                    page,
                    struct.pack("<I", chance.getrandbits(32)),
                    chance.choice((abi.CHANNEL_STATE, abi.CHANNEL_POSTED)),
                )
            case "done":
                os.pwrite(page, struct.pack("<I", chance.getrandbits(32)), abi.CHANNEL_DONE)
            case "info":
                os.pwrite(page, struct.pack("<Q", chance.getrandbits(64)), abi.CHANNEL_INFO + chance.choice((0, 64)))
            case "everything":
                os.pwrite(page, bytes([chance.choice((0, 1, 2, 3, 255))]) * abi.CHANNEL_BYTES, 0)
            case _:
                os.pwrite(page, chance.randbytes(1 << chance.randrange(13)), 0)

    with pair() as scene:
        server, victim, hostile = scene.task(echo), scene.task(good), scene.task(bad)
        page = scene.connect(hostile, server)
        scene.connect(victim, server, number=NUMBER + 1)
        while not victim.task.has_ended(0):
            scene.pump()
            scribble(page)
        assert victim.task.result()
        assert not server.task.has_ended(0)


def test_a_page_truncated_by_the_client_hurts_nobody_else() -> None:
    with pair() as scene:
        server, hostile = scene.task(echo), scene.task(call_until_refused)
        page = scene.connect(hostile, server)
        os.ftruncate(page, 0)

        def good() -> Any:
            bind(NUMBER + 1)
            return all(call(INFO, n)[3] == n for n in range(1000))

        victim = scene.task(good)
        scene.connect(victim, server, number=NUMBER + 1)
        scene.serve_until(victim)
        assert victim.task.result()
        assert not server.task.has_ended(0)


def test_a_bus_error_elsewhere_ends_the_process_as_ever() -> None:
    def touch() -> Any:
        import mmap

        bind()
        memory = os.memfd_create("other")
        os.ftruncate(memory, 4096)
        mapped = mmap.mmap(memory, 4096)
        os.ftruncate(memory, 0)
        return mapped[0]

    with pair() as scene:
        server, task = scene.task(echo), scene.task(touch)
        scene.connect(task, server)
        assert os.waitstatus_to_exitcode(task.task.reap()) == -signal.SIGBUS
