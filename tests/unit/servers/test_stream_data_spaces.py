"""Data spaces that are waited for: a serial line, a console, a clock. What was closed takes nothing from others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from types import SimpleNamespace

import pytest

from libsel4py import Endpoint, runtime
from libsel4py.environment import Environment
from libsel4py.errors import TooManyDeferred
from libsel4py.interface import Interface, interfaces_of
from libsel4py.interfaces.clock import Clock
from libsel4py.interfaces.data_space import AT_POSITION, DataGone, DataSpaces, OpenData, OpenFlags
from libsel4py.keeper import Keeper
from libsel4py.signature import Word
from libsel4py.testing import Events, TestSystem, connect, in_background, system
from libsel4py.testing.fake_objects import FakeCap
from servers.clock import main as clock_main
from servers.clock.main import MOST_WAITS
from servers.clock.main import Main as ClockMain
from tests.unit.sdk.cut_memory import CutMemory
from tests.unit.servers.serial_board import Board, board
from tests.unit.servers.terminal import bench

SECONDS = 10.0
BOTH = OpenFlags.READ | OpenFlags.WRITE
LONG_NS = 1 << 62


def data_spaces(made: TestSystem, client: Interface, main: Interface) -> DataSpaces:
    """The same server's data spaces, for the same client."""
    cap = made.kernel.objects.caps[client._endpoint.cptr]
    interfaces = interfaces_of(type(main))
    served = next(each for each in interfaces if isinstance(client, each))
    badge = cap.badge - interfaces.index(served) + interfaces.index(DataSpaces)
    slot = made.slots.allocate()
    made.kernel.objects.caps[slot] = FakeCap(cap.object, badge)
    return DataSpaces(Endpoint(slot))


@pytest.fixture
def uart() -> Iterator[Board]:
    with board() as made:
        yield made


def test_what_comes_for_a_reader_that_is_gone_is_the_next_ones(uart: Board) -> None:
    """A client that is killed while it reads begins anew by `close_all`, and has another capability then."""
    with uart.driver() as (driver, client):
        server = data_spaces(uart.made, client, driver)
        former = uart.calling(OpenData(server.open("serial", BOTH, 0)).read, 0, 100)
        server.close_all()
        with pytest.raises(DataGone):
            former.result(SECONDS)
        following = uart.calling(OpenData(server.open("serial", BOTH, 0)).read, 0, 100)
        uart.feed(b"typed")
        assert following.result(SECONDS) == b"typed"
        OpenData(server.open("serial", OpenFlags.WRITE, 0)).close()  # nobody has read by it


def test_a_line_that_is_typed_for_a_reader_that_is_gone_is_the_next_ones() -> None:
    with bench() as running:
        server = data_spaces(running._made, running.client_of(1), running.console)

        def reading() -> Future[bytes]:
            space, before = OpenData(server.open("console", BOTH, 0)), len(running.console._readers)
            future = in_background(space.read, 0, 100)
            with running.console._lock:
                assert running.console._lock.wait_for(lambda: len(running.console._readers) > before, SECONDS)
            return future

        former = reading()
        server.close_all()
        with pytest.raises(DataGone):
            former.result(SECONDS)
        following = reading()
        running.type(b"hello\r")
        assert following.result(SECONDS) == b"hello\n"


def test_a_character_that_is_written_in_two_pieces_is_one() -> None:
    with bench() as running:
        server = data_spaces(running._made, running.client_of(1), running.console)
        space = OpenData(server.open("console", BOTH, 0))
        space.write(0, ("x" + "ö" * 800 + "\n").encode())
        for byte in "€\n".encode():
            space.put_byte(byte)
        assert running.terminal.output.replace("\r", "") == "x" + "ö" * 800 + "\n€\n"


class Clocks:
    """A clock, and those who wait for it."""

    def __init__(self, made: TestSystem, main: ClockMain, clock: Clock) -> None:
        self.main, self.clock = main, clock
        self.spaces = data_spaces(made, clock, main)
        self._calls: list[Future[object]] = []
        self._waits = Events[int]()
        wait = made.kernel._wait

        def watched(condition: Callable[[], bool], timeout_ns: int, what: str) -> bool:
            self._waits.add(len(self._waits.all))
            return wait(condition, timeout_ns, what)

        made.kernel._wait = watched  # type: ignore[method-assign]  # tells when a client has begun to wait

    def waiting(self, function: Callable[..., object], *args: object) -> Future[object]:
        number = len(self._waits.all)
        future = in_background(function, *args)
        self._waits.wait_for(lambda wait: wait == number)
        self._calls.append(future)
        return future

    def end(self) -> None:
        """No thread goes on to the next test."""
        self.main._end(list(self.main._waiting), TooManyDeferred("the test is over"))
        for each in self._calls:
            each.exception(SECONDS)


@pytest.fixture
def clocks() -> Iterator[Clocks]:
    with system() as made:
        main = ClockMain()
        with connect(main, interface=Clock) as clock:
            scene = Clocks(made, main, clock)
            yield scene
            scene.end()


def test_waits_that_were_given_up_keep_their_clients_next_life_from_nothing(clocks: Clocks) -> None:
    former = [clocks.waiting(clocks.clock.sleep, Word(LONG_NS - number)) for number in range(MOST_WAITS)]
    timer = OpenData(clocks.spaces.open("timer", BOTH, 0))
    last = clocks.waiting(timer.write, 0, LONG_NS.to_bytes(8, "little"))
    with pytest.raises(TooManyDeferred):
        former[0].result(SECONDS)
    assert len(clocks.main._waiting) == MOST_WAITS
    assert not any(each.done() for each in former[1:])
    timer.close()
    with pytest.raises(DataGone):
        last.result(SECONDS)
    assert len(clocks.main._waiting) == MOST_WAITS - 1


@pytest.mark.parametrize(("host_ns", "now"), [(7_000, 2_000), (3_000, 0)])
def test_a_next_life_goes_on_and_begins_anew_where_the_host_has(
    monkeypatch: pytest.MonkeyPatch, host_ns: int, now: int
) -> None:
    memory = CutMemory(16 << 10)
    for at, expected in ((5_000, 0), (host_ns, now)):
        monkeypatch.setattr(clock_main, "time", SimpleNamespace(monotonic_ns=lambda at=at: at))
        with system() as made:
            task = made.task(Environment("clock"))
            task.keeper = Keeper.open(memory)
            with connect(runtime.make(ClockMain, task), interface=Clock) as clock:
                assert clock.now() == expected


def test_who_waits_longest_is_answered_last(clocks: Clocks) -> None:
    late = clocks.waiting(clocks.clock.sleep, Word(LONG_NS))
    timer = OpenData(clocks.spaces.open("timer", BOTH, 0))
    soon = clocks.waiting(timer.write_piece, Word(AT_POSITION), (1).to_bytes(8, "little"))
    alarm = clocks.main.server.alarm
    assert alarm is not None
    while not soon.done():
        alarm.ring()
    assert soon.result(SECONDS) == 8
    assert not late.done()
    assert len(clocks.main._waiting) == 1
