"""A console under test: the real server, a terminal in the place of the serial driver, clients told apart by badge."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager

from libsel4py import Endpoint, ServerDied, runtime
from libsel4py.context import Uses
from libsel4py.environment import Environment
from libsel4py.interfaces.console import Console
from libsel4py.interfaces.serial import Serial
from libsel4py.keeper import Keeper
from libsel4py.testing import Events, TestSystem, connect, in_background, system
from libsel4py.testing.fake_objects import FakeCap
from servers.console.main import Main
from tests.unit.sdk.cut_memory import CutMemory

SECONDS = 10.0
DIES = ServerDied("the driver was killed")


class Terminal(Serial):
    """What is typed, in the pieces in which it arrives; and all that was shown so far, after each write."""

    def __init__(self) -> None:
        self.typed: queue.Queue[bytes | ServerDied] = queue.Queue()
        self.shown = Events[str]()
        self.deaths = 0  # how many of the writes to come lose the driver
        self._output = bytearray()

    def write_piece(self, data: bytes) -> None:
        if self.deaths:
            self.deaths -= 1
            raise DIES
        self._output += data
        self.shown.add(self._output.decode(errors="replace"))

    def read(self) -> bytes:
        data = self.typed.get()
        if isinstance(data, ServerDied):
            raise data
        return data

    @property
    def output(self) -> str:
        return self._output.decode()

    def until(self, text: str) -> None:
        """Wait until the output ends so."""
        self.shown.wait_for(lambda shown: shown.endswith(text))


class Bench:
    """A console that runs. `type` is somebody at the terminal."""

    def __init__(self, made: TestSystem, console: Main, first: Console) -> None:
        self.terminal = Terminal()
        self.console = console
        console._uses = Uses({"serial": self.terminal})
        self._made = made
        self._endpoint = made.kernel.objects.caps[first._endpoint.cptr].object
        self._badge = 100

    def client(self) -> Console:
        """A client of its own."""
        self._badge += 1
        return self.client_of(self._badge)

    def client_of(self, badge: int) -> Console:
        slot = self._made.slots.allocate()
        self._made.kernel.objects.caps[slot] = FakeCap(self._endpoint, badge)
        if badge not in self.console.server.connections:
            self.console.server.add_client(badge, f"#{badge}", Console)
        return Console(Endpoint(slot))

    def type(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.terminal.typed.put(piece)

    def read(self, client: Console, prompt: str = "> ", **options: bool) -> Future[str]:
        """A read of a line in the background, at a moment when the console has taken it."""
        console = self.console
        with console._lock:
            waiting = len(console._readers)
        future = in_background(client.read_line, prompt, **options)
        future.add_done_callback(lambda _: self._wake())  # it may be answered before anybody looks
        with console._lock:
            assert console._lock.wait_for(lambda: len(console._readers) != waiting or future.done(), SECONDS)
        return future

    def _wake(self) -> None:
        with self.console._lock:
            self.console._lock.notify_all()


@contextmanager
def bench(memory: CutMemory | None = None) -> Iterator[Bench]:
    """A console, until it ends; ``memory``: its state, from former lives and for later ones."""
    with system() as made:
        task = made.task(Environment("console"))
        task.keeper = Keeper() if memory is None else Keeper.open(memory)
        console = runtime.make(Main, task)
        with connect(console) as first:
            running = Bench(made, console, first)
            reading = in_background(console.read_terminal)
            try:
                yield running
            finally:
                running.type(b"")
                with console._lock:
                    console._typed.clear()
                    console._lock.notify_all()
                reading.result(SECONDS)
