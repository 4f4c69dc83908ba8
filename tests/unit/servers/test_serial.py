"""The serial driver over the machine's UART: no byte is lost, doubled or turned round, whenever the other end acts."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator

import pytest

from hw.devices import uart as chip
from libsel4py.environment import Environment
from libsel4py.errors import InvalidMessage, TooManyDeferred
from libsel4py.interface import on_lane
from libsel4py.interfaces.serial import WRITE_BYTES, Serial
from libsel4py.request_ids import Lane
from libsel4py.state import ensure_state
from libsel4py.watchdog import LOOK_S
from servers.serial import main as driver_main
from servers.serial.main import MOST_WRITES, READER_LOOK_S, STATE_BYTES, Main, ReadAgain
from tests.unit.sdk.cut_memory import CutMemory
from tests.unit.servers.serial_board import IRQ, Board, board

SECONDS = 10.0
EARLY, LATE = b"first", b"LATER"


@pytest.fixture
def uart() -> Iterator[Board]:
    with board() as made:
        yield made


@pytest.fixture
def serial(uart: Board) -> Iterator[Serial]:
    with uart.driver() as (_, client):
        yield client


def pattern(count: int) -> bytes:
    return bytes(number * 7 % 251 for number in range(count))


def read_all(serial: Serial, count: int) -> bytes:
    found = b""
    while len(found) < count:
        piece = serial.read()
        assert 1 <= len(piece) <= WRITE_BYTES
        found += piece
    return found


def accesses_of_one_interrupt(uart: Board, serial: Serial) -> int:
    """Port accesses that the driver makes to take a few bytes."""
    before = uart.accesses
    uart.feed(EARLY)
    points = uart.accesses - before
    assert points > 2 * 64
    assert serial.read() == EARLY
    return points


def test_the_line_is_set_up(uart: Board, serial: Serial) -> None:
    state = uart.uart.state
    assert (state.lcr, state.fcr) == (3, chip.FCR_ENABLE | chip.FCR_64_BYTES)
    assert state.mcr == chip.MCR_DTR | chip.MCR_RTS | chip.MCR_OUT2
    assert state.ier == chip.IER_RECEIVED | chip.IER_MODEM


@pytest.mark.parametrize("count", [1, 63, 64, 65, 128, 900, 901, 5000])
def test_a_burst_arrives_whole(uart: Board, serial: Serial, count: int) -> None:
    uart.feed(pattern(count))
    assert read_all(serial, count) == pattern(count)


def test_what_was_typed_before_the_driver_started_is_not_lost(uart: Board) -> None:
    uart.feed(pattern(200))
    with uart.driver() as (_, serial):
        uart.settle()
        assert read_all(serial, 200) == pattern(200)


def test_a_reader_waits_until_there_is_something(uart: Board, serial: Serial) -> None:
    future = uart.calling(serial.read)
    uart.feed(b"x")
    assert future.result(SECONDS) == b"x"


def test_lost_interrupts_delay_and_nothing_else(uart: Board) -> None:
    with uart.driver() as (driver, serial):
        alarm = driver.server.alarm
        assert alarm is not None
        assert alarm.due() == math.inf, "nobody waits"
        reader = uart.calling(serial.read)
        assert LOOK_S < alarm.due() - time.monotonic() <= READER_LOOK_S
        alarm.ring()  # too early: nothing has come
        assert not reader.done()
        uart.wire.feed(b"x")
        uart.machine.bus.lines.forget(IRQ)
        alarm.ring()
        assert reader.result(SECONDS) == b"x"
        uart.wire.waits = True
        uart.settle()
        writer = uart.calling(serial.write, pattern(100))
        assert alarm.due() <= time.monotonic() + LOOK_S
        for _ in range(100 // 64 + 1):
            uart.wire.waits = False
            uart.wire.move()
            uart.machine.bus.lines.forget(IRQ)
            alarm.ring()
        writer.result(SECONDS)
        assert bytes(uart.wire.sent) == pattern(100)
        assert alarm.due() == math.inf


def test_no_byte_is_lost_wherever_others_arrive(uart: Board) -> None:
    with uart.driver() as (_, serial):
        for point in range(accesses_of_one_interrupt(uart, serial)):

            def arrive(number: int, at: int = uart.accesses + point) -> None:
                if number == at:
                    uart.wire.feed(LATE)

            uart.before_access = arrive
            uart.feed(EARLY)
            uart.before_access = lambda number: None
            assert read_all(serial, len(EARLY + LATE)) == EARLY + LATE, point
    assert not uart.uart.state.overrun


def test_bytes_that_come_just_before_the_carrier_goes_are_read_first() -> None:
    with board() as uart, uart.driver() as (_, serial):
        points = accesses_of_one_interrupt(uart, serial)
    for point in range(points):
        with board() as uart, uart.driver() as (_, serial):

            def arrive(number: int, uart: Board = uart, at: int = uart.accesses + point) -> None:
                if number == at:
                    uart.wire.feed(LATE)
                    uart.wire.end()

            readers = [uart.calling(uart.client(serial, badge).read) for badge in (11, 12)]
            uart.before_access = arrive
            uart.feed(EARLY)
            assert b"".join(reader.result(SECONDS) for reader in readers) == EARLY + LATE, point
            assert [serial.read(), serial.read()] == [b"", b""], point


def test_a_lost_carrier_ends_all_waiting_reads(uart: Board, serial: Serial) -> None:
    clients = [uart.client(serial, badge) for badge in (11, 12)]
    futures = [uart.calling(client.read) for client in clients]
    uart.wire.end()
    uart.settle()
    assert [future.result(SECONDS) for future in futures] == [b"", b""]


def test_what_has_no_room_stays_at_the_other_end(uart: Board, serial: Serial, monkeypatch: pytest.MonkeyPatch) -> None:
    """The device goes on asking for service as long as it holds bytes: it must not interrupt for them meanwhile."""
    monkeypatch.setattr(driver_main, "MAX_BUFFERED", 100)
    uart.feed(pattern(1000))
    assert not uart.uart.state.ier & chip.IER_RECEIVED
    uart.wire.end()
    uart.settle()
    found = b""
    while piece := serial.read():
        found += piece
        uart.settle()
    assert found == pattern(1000)
    assert uart.uart.state.ier & chip.IER_RECEIVED
    assert not uart.uart.state.overrun


def test_readers_take_turns(uart: Board, serial: Serial) -> None:
    futures = [uart.calling(uart.client(serial, badge).read) for badge in (11, 12)]
    uart.feed(b"a")
    uart.feed(b"b")
    assert [future.result(SECONDS) for future in futures] == [b"a", b"b"]


def test_who_sends_without_waiting_keeps_no_other_from_the_line(uart: Board, serial: Serial) -> None:
    """The other end takes nothing: all that was sent waits, however often its sender has given up."""
    hostile, other = uart.client(serial, 11), uart.client(serial, 12)
    uart.wire.waits = True
    uart.calling(hostile.write, bytes(WRITE_BYTES))  # what the device takes now
    given_up = [uart.calling(hostile.write, b"x") for _ in range(MOST_WRITES - 1)]
    for _ in range(70):
        with pytest.raises(TooManyDeferred, match="#11"):
            hostile.write(b"x")
    reading, writing = uart.calling(other.read), uart.calling(other.write, b"y")
    uart.feed(b"typed")
    assert reading.result(SECONDS) == b"typed"
    uart.wire.waits = False
    uart.wire.move()
    uart.settle()
    writing.result(SECONDS)
    for each in given_up:
        each.result(SECONDS)
    hostile.write(b"z")
    assert uart.wire.sent.endswith(b"yz")


def test_a_client_that_was_started_anew_gets_what_its_dead_self_waited_for(uart: Board, serial: Serial) -> None:
    dead = uart.calling(uart.client(serial, 11).read)
    other = uart.calling(uart.client(serial, 12).read)
    anew = uart.calling(uart.client(serial, 11).read)
    with pytest.raises(ReadAgain):
        dead.result(SECONDS)
    uart.feed(b"a")
    uart.feed(b"b")
    assert (other.result(SECONDS), anew.result(SECONDS)) == (b"a", b"b")


@pytest.mark.parametrize("count", [0, 1, 64, 65, 900, 930, 3000])
def test_what_is_written_is_sent(uart: Board, serial: Serial, count: int) -> None:
    (serial.write if count > 930 else serial.write_piece)(pattern(count))
    assert bytes(uart.wire.sent) == pattern(count)
    assert not uart.uart.state.ier & chip.IER_THR_EMPTY


def test_writers_wait_in_order_until_the_device_has_taken_their_bytes(uart: Board, serial: Serial) -> None:
    uart.wire.waits = True
    serial.write_piece(b"-" * 64)
    first = uart.calling(uart.client(serial, 11).write_piece, b"1" * 100)
    second = uart.calling(uart.client(serial, 12).write_piece, b"2" * 10)
    done = []
    for _ in range(20):
        uart.wire.take(10)
        uart.settle()
        done.append((first.done(), second.done()))
    assert sorted(done) == done
    assert done[5] == (False, False)
    first.result(SECONDS)
    second.result(SECONDS)
    assert bytes(uart.wire.sent) == b"-" * 64 + b"1" * 100 + b"2" * 10
    assert not uart.uart.state.ier & chip.IER_THR_EMPTY


def test_reading_and_writing_go_on_side_by_side(uart: Board, serial: Serial) -> None:
    uart.wire.waits = True
    serial.write_piece(b"x" * 64)
    writer = uart.calling(serial.write_piece, b"y" * 200)
    uart.feed(pattern(300))
    assert read_all(serial, 300) == pattern(300)
    uart.wire.waits = False
    uart.wire.move()
    uart.settle()
    writer.result(SECONDS)
    assert bytes(uart.wire.sent) == b"x" * 64 + b"y" * 200


def test_a_new_driver_finds_what_the_dead_one_left_in_the_device(uart: Board) -> None:
    uart.wire.waits = True
    with uart.driver() as (_, serial):
        serial.write_piece(b"sent" * 16)
    uart.wire.feed(pattern(150))  # nobody serves the interrupt
    uart.wire.waits = False
    with uart.driver() as (_, serial):
        uart.settle()
        assert read_all(serial, 150) == pattern(150)
        serial.write_piece(b"more")
    assert bytes(uart.wire.sent) == b"sent" * 16 + b"more"


def test_bytes_lost_by_an_end_that_does_not_wait_are_told(uart: Board, caplog: pytest.LogCaptureFixture) -> None:
    with uart.driver() as (driver, serial):
        assert isinstance(driver, Main)
        with caplog.at_level(logging.WARNING):
            uart.wire.line.receive(pattern(100))
            uart.settle()
        assert read_all(serial, 64) == pattern(64)
    assert "received bytes were lost" in caplog.text


def test_bytes_that_a_dead_driver_had_taken_are_its_successors_and_come_once(uart: Board) -> None:
    """Also those that it had handed to a client which did not hear of it: to that one, on the lane that it has kept."""
    memory = CutMemory(STATE_BYTES)
    with uart.driver(memory) as (_, serial):
        uart.feed(pattern(1000))
        assert on_lane(serial, Lane(7)).read() == pattern(1000)[:WRITE_BYTES]
    with uart.driver(memory) as (_, serial):
        mine = on_lane(serial, Lane(7, 1, unanswered=True))
        assert mine.read() == pattern(1000)[:WRITE_BYTES]
        assert mine.read() == pattern(1000)[WRITE_BYTES:]


def test_a_client_that_died_while_it_waited_hears_what_came_meanwhile(uart: Board) -> None:
    memory = CutMemory(STATE_BYTES)
    with uart.driver(memory) as (_, serial):
        first = uart.calling(on_lane(serial, Lane(7)).read)
        uart.feed(b"early")
        assert first.result(SECONDS) == b"early"
        again = on_lane(serial, Lane(7, 1, unanswered=True))
        assert again.read() == b"early"
        second = uart.calling(again.read)
        third = uart.calling(on_lane(serial, Lane(7, 2, unanswered=True)).read)
        with pytest.raises(InvalidMessage, match="sent again"):
            second.result(SECONDS)
        uart.feed(b"late")
        assert third.result(SECONDS) == b"late"
        assert on_lane(serial, Lane(7, 2, unanswered=True)).read() == b"late"


def test_a_state_that_is_too_small_is_refused(uart: Board) -> None:
    task = uart.made.task(Environment("serial", state_bytes=4096))
    with pytest.raises(ValueError, match='state = "128K"'):
        ensure_state(task, STATE_BYTES)
