"""Random kills, stops, parks and revocations under calls by channels.

Nothing hangs, nothing runs twice, no answer is wrong. Clients and servers are processes; the test plays their kernels,
and does to them what chance says. Each request has a serial number; a table that all processes share counts how often
it was carried out.
"""

import contextlib
import mmap
import os
import random
import signal
import struct
import time
from collections.abc import Callable
from typing import Any

import pytest

from hw import cpu
from libsel4py import abi
from libsel4py.abi import ChannelRole, ControlOp, Status
from tests.unit.channel_peer import (
    CALLED,
    Kernel,
    Pair,
    call,
    listen,
    make_page,
    pair,
    read_word,
    receive,
    reply_receive,
)

CLIENTS, SERVERS, SERIALS = 3, 2, 1 << 22
INFO = abi.message_info(1, 2)
STUCK_S = 20
VISIBLE = 2_000_000  # turns of a loop: some 30 ms
WORDS = {
    "posted": abi.CHANNEL_POSTED,
    "sleepers": abi.CHANNEL_SLEEPERS,
    "state": abi.CHANNEL_STATE,
    "done": abi.CHANNEL_DONE,
}
ANSWERED = 7


class Table:
    """Shared by all processes of a run: how often each request was carried out, and where each client is."""

    def __init__(self) -> None:
        self.counts = mmap.mmap(-1, CLIENTS * SERIALS)
        self._words = mmap.mmap(-1, 4096)

    def word(self, index: int) -> int:
        return int(struct.unpack_from("<Q", self._words, 8 * index)[0])

    def set_word(self, index: int, value: int) -> None:
        struct.pack_into("<Q", self._words, 8 * index, value)

    def close(self) -> None:
        self.counts.close()
        self._words.close()


NUMBERS, SERIAL, OUTCOMES = 0, 16, 32  # words: each client's channel now; its serial number; outcomes by kind
DONE, GAVE_UP, DIED, GONE, BY_KERNEL = OUTCOME_KINDS = range(5)


def serve(table: Table) -> None:
    """Carry out each request once, sometimes slowly, and rarely so slowly that one can see it being served."""
    listen()
    chance = random.Random(os.getpid())
    message = receive()
    while True:
        client, serial = message[3:5]
        if client < CLIENTS and serial < SERIALS:
            table.counts[client * SERIALS + serial] += 1
        for _ in range(VISIBLE if chance.random() < 0.002 else chance.choice((0, 0, 0, 0, 500, 20_000))):
            pass
        message = reply_receive(INFO, client, serial * ANSWERED)


def ask(table: Table, client: int) -> None:
    """Call without end, each time with the next serial number, by whatever channel the client has now."""
    chance = random.Random(os.getpid())
    bound = -1
    while True:
        serial = table.word(SERIAL + client) + 1
        table.set_word(SERIAL + client, serial)
        number = table.word(NUMBERS + client)
        if number != bound:
            try:
                cpu.channel_bind(CALLED, number, 20_000_000)
            except LookupError:
                continue
            bound = number
        answer = call(INFO, client, serial, timeout_ns=chance.choice((-1, -1, 100_000, 5_000_000)))
        table.set_word(OUTCOMES + 8 * client + judge(table, client, serial, answer), 1)


def judge(table: Table, client: int, serial: int, answer: tuple[int, ...]) -> int:
    """Which outcome it was; raises if it is none that may be."""
    count = table.counts[client * SERIALS + serial]
    assert count <= 1, f"request {serial} of client {client} was carried out {count} times"
    if answer[0] == Status.SERVER_DIED:
        return DIED
    if answer[0] == Status.CANCELLED:
        return GAVE_UP
    if answer[2] == abi.message_info(abi.Error.INVALID_CAPABILITY, 1):
        return GONE
    if answer[1] == CALLED:
        return BY_KERNEL
    assert answer == (Status.DONE, 0, INFO, client, serial * ANSWERED, 0, 0), f"a wrong answer to {serial}: {answer}"
    assert count == 1, f"request {serial} was answered and never carried out"
    return DONE


class Torture:
    """One run: who is there, and what chance does to them."""

    def __init__(self, scene: Pair, seed: int) -> None:
        self.scene = scene
        self.chance = random.Random(seed)
        self.table = Table()
        scene.stack.callback(self.table.close)
        self.numbers = self.listeners = 0
        self.pages: dict[int, tuple[int, int]] = {}  # by client: number, page
        self.clients: dict[int, Kernel] = {}
        self.servers: dict[int, Kernel] = {}  # by listener
        self.stopped: set[Kernel] = set()
        self.done: dict[str, int] = {}

    def begin(self) -> None:
        for _ in range(SERVERS):
            self.start_server()
        for client in range(CLIENTS):
            self.start_client(client)

    def start_server(self) -> None:
        self.listeners = self.listeners % abi.CHANNEL_LISTENER_MAX + 1
        server = self.servers[self.listeners] = self.scene.task(lambda: serve(self.table))
        for number, page in self.pages.values():
            self.scene.open(server, page, ChannelRole.SERVER, number, 1, self.listeners)

    def start_client(self, client: int) -> None:
        self.clients[client] = self.scene.task(lambda: ask(self.table, client))
        self.connect(client)

    def connect(self, client: int) -> None:
        """A new channel for a client, as a new object would be: another number, another page."""
        self.numbers += 1
        page = make_page()
        self.pages[client] = (self.numbers, page)
        for listener, server in self.servers.items():
            self.resume(server)
            self.scene.open(server, page, ChannelRole.SERVER, self.numbers, 1, listener)
        self.resume(self.clients[client])
        self.scene.open(self.clients[client], page, ChannelRole.CLIENT, self.numbers, 1, 0)
        self.table.set_word(NUMBERS + client, self.numbers)

    def sever(self, client: int) -> None:
        number, page = self.pages.pop(client)
        os.ftruncate(page, 0)
        os.close(page)
        for kernel in (*self.servers.values(), self.clients[client]):
            self.resume(kernel)
            self.scene.tell(kernel, ControlOp.CHANNEL_CLOSE, number)

    def serving(self) -> list[int]:
        """The servers that have taken a request and not answered it, by what the pages say."""
        listeners = []
        for _, page in self.pages.values():
            state, done = read_word(page, abi.CHANNEL_STATE), read_word(page, abi.CHANNEL_DONE)
            listener = state >> abi.CHANNEL_LISTENER_SHIFT & abi.CHANNEL_LISTENER_MAX
            if listener in self.servers and state >> 16 != done >> 16:
                listeners.append(listener)
        return listeners

    # --- what chance does

    def kill_server(self) -> None:
        if self.chance.random() < 0.5:
            self.await_serving()
        listener = self.chance.choice(self.serving() or list(self.servers))
        self.kill(self.servers.pop(listener))
        for client, (number, _) in self.pages.items():
            self.resume(self.clients[client])
            self.scene.tell(self.clients[client], ControlOp.RECEIVER_DIED, number, listener)
        self.start_server()

    def kill_client(self) -> None:
        client = self.chance.randrange(CLIENTS)
        self.kill(self.clients[client])
        self.sever(client)
        self.start_client(client)

    def revoke(self) -> None:
        client = self.chance.randrange(CLIENTS)
        self.sever(client)
        self.connect(client)

    def stop(self) -> None:
        kernel = self.chance.choice([*self.servers.values(), *self.clients.values()])
        signal.pidfd_send_signal(kernel.task.pidfd, signal.SIGSTOP)
        self.stopped.add(kernel)

    def go_on(self) -> None:
        for kernel in tuple(self.stopped):
            self.resume(kernel)

    def park(self) -> None:
        kernel = self.chance.choice([*self.servers.values(), *self.clients.values()])
        self.resume(kernel)
        self.scene.tell(kernel, ControlOp.PARK)
        self.scene.tell(kernel, ControlOp.UNPARK)

    def resume(self, kernel: Kernel) -> None:
        if kernel in self.stopped:
            self.stopped.discard(kernel)
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(kernel.task.pidfd, signal.SIGCONT)

    def kill(self, kernel: Kernel) -> None:
        self.stopped.discard(kernel)
        self.scene.kernels.remove(kernel)
        kernel.task.close()
        kernel.peer.close()

    def act(self) -> None:
        action = self.chance.choice(
            (self.kill_server, self.kill_client, self.revoke, self.stop, self.stop, self.go_on, self.go_on, self.park)
        )
        self.done[action.__name__] = self.done.get(action.__name__, 0) + 1
        action()

    # --- checks

    def check(self) -> None:
        """Nobody has ended by itself: a client that met with something wrong would have."""
        for kernel in self.scene.kernels:
            if kernel.task.has_ended(0):
                kernel.task.result()
                raise AssertionError("a task ended by itself")

    def await_progress(self) -> None:
        """Every client gets on."""
        before = [self.table.word(SERIAL + client) for client in range(CLIENTS)]
        self.wait_until(
            lambda: all(self.table.word(SERIAL + client) >= before[client] + 3 for client in range(CLIENTS))
        )

    def await_serving(self) -> None:
        """Some server is at work."""
        self.wait_until(lambda: bool(self.serving()))

    def wait_until(self, condition: Callable[[], bool]) -> None:
        self.go_on()
        end = time.monotonic() + STUCK_S
        while not condition():
            self.scene.pump()
            self.check()
            if time.monotonic() > end:
                raise AssertionError(self.report())
            os.sched_yield()

    def met(self) -> list[bool]:
        """Which of the outcomes some client has met."""
        return [
            any(self.table.word(OUTCOMES + 8 * client + kind) for client in range(CLIENTS)) for kind in OUTCOME_KINDS
        ]

    def report(self) -> str:
        lines = [f"a client does not get on; done so far: {self.done}"]
        for client, (number, page) in self.pages.items():
            words = {name: f"{read_word(page, at):#x}" for name, at in WORDS.items()}
            lines.append(f"client {client}: channel {number}, serial {self.table.word(SERIAL + client)}, {words}")
        return "\n".join(lines)

    def end(self) -> None:
        for kernel in (*self.servers.values(), *self.clients.values()):
            self.kill(kernel)
        for _, page in self.pages.values():
            os.close(page)


def torture(seconds: float, seed: int) -> dict[str, int]:
    """Goes on after its time until every outcome was met, which depends on who runs when; not for ever."""
    with pair() as scene:
        run = Torture(scene, seed)
        run.begin()
        end = time.monotonic() + seconds
        try:
            while time.monotonic() < end or not (all(run.met()) or time.monotonic() > end + STUCK_S):
                for _ in range(run.chance.randrange(200)):
                    scene.pump()
                run.act()
                run.check()
                if run.chance.random() < 0.1:
                    run.await_progress()
            run.await_progress()
            assert all(run.met()), f"not every outcome was met: {run.met()}; done: {run.done}"
        finally:
            run.end()
        return run.done


def test_a_short_torture() -> None:
    assert torture(5, seed=1)["kill_server"]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_minute_of_torture() -> None:
    """With a seed of its own each day, so that CI sees others than we have; a failure names it."""
    seed = int(time.time()) // 86_400
    done: Any = torture(60, seed)
    assert min(done.values()) > 10, (seed, done)
