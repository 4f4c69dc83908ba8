"""The console server: several clients on one terminal, and what happens when one of them, or the driver, is gone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future

import pytest

from libsel4py import runtime
from libsel4py.interfaces.console import WRITE_CHARACTERS, Console, EndOfInput, Interrupted
from libsel4py.request_ids import REPEATED
from libsel4py.testing import in_background
from servers.console import main as console_main
from servers.console.kept import HISTORY_BYTES, STATE_BYTES, Session
from servers.console.main import MAX_TYPED_AHEAD
from tests.unit.sdk.cut_memory import CutMemory
from tests.unit.servers.terminal import DIES, SECONDS, Bench, bench

ERASE = "\r\x1b[K"


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(runtime._Threads, "entry", runtime._Threads.entry)
    with bench() as running:
        yield running


def test_a_client_reads_a_line(board: Bench) -> None:
    future = board.read(board.client())
    board.type(b"hel", b"lo\r")
    assert future.result(SECONDS) == "hello"
    assert board.terminal.output == "> hello\r\n"
    assert board.client().columns() == 80


def test_readers_take_turns_in_the_order_in_which_they_asked(board: Bench) -> None:
    futures = [board.read(board.client(), f"{number}> ") for number in range(3)]
    board.terminal.until("0> ")
    board.type(b"a\rb\r", b"c\r")
    assert [future.result(SECONDS) for future in futures] == ["a", "b", "c"]
    assert board.terminal.output == "0> a\r\n1> b\r\n2> c\r\n"


def test_no_client_gives_the_terminal_commands(board: Bench) -> None:
    client = board.client()
    client.write("a\x1b[6n\tb\x9b6n\r\u202e\x7fé\n")
    future = board.read(client, "\x1b]2;title\a> ")
    board.type(b"x\r")
    assert future.result(SECONDS) == "x"
    shown = "a\\x1b[6n\tb\\x9b6n\\x0d\\u202e\\x7fé\r\n" + "\\x1b]2;title\\x07> x\r\n"
    assert board.terminal.output == shown


def test_what_is_typed_while_nobody_reads_waits(board: Bench) -> None:
    board.type(b"a\r\nb\xc3", b"\xa9\r")
    client = board.client()
    assert [board.read(client).result(SECONDS) for _ in range(2)] == ["a", "bé"]


def test_a_line_feed_behind_the_finished_line_is_no_empty_line(board: Bench) -> None:
    client = board.client()
    future = board.read(client)
    board.type(b"a\r")
    assert future.result(SECONDS) == "a"
    future = board.read(client)
    board.type(b"\nb\r")
    assert future.result(SECONDS) == "b"


def test_a_piece_larger_than_what_may_wait_is_read_to_its_end(board: Bench) -> None:
    """The reading thread waits for room, and must hear that a reader without a finished line has made some."""
    board.type(b"x" * MAX_TYPED_AHEAD)
    with board.console._lock:
        assert board.console._lock.wait_for(lambda: board.terminal.typed.empty(), SECONDS)
    future = board.read(board.client())
    board.type(b"y\x17z\r")
    assert future.result(SECONDS) == "z"


def test_output_appears_above_the_line_being_typed(board: Bench) -> None:
    reader, writer = board.client(), board.client()
    future = board.read(reader)
    board.type(b"ab\x1b[D")
    board.terminal.until("> ab\x1b[1D")
    before = board.terminal.output
    writer.write("one\ntwo\n")
    assert board.terminal.output == before + f"{ERASE}one\r\ntwo\r\n> ab\x1b[1D"
    board.type(b"c\r")
    assert future.result(SECONDS) == "acb"


def test_output_without_newline_waits_for_it_or_for_the_end_of_the_line(board: Bench) -> None:
    reader, one, two = board.client(), board.client(), board.client()
    future = board.read(reader)
    one.write("A" * (WRITE_CHARACTERS + 10))
    two.write("two")
    assert board.terminal.output == "> "
    one.write("end\nmore")
    assert board.terminal.output == f"> {ERASE}{'A' * (WRITE_CHARACTERS + 10)}end\r\n> "
    before = board.terminal.output
    board.type(b"\r")
    assert future.result(SECONDS) == ""
    assert board.terminal.output == before + "\r\ntwomore"


def test_a_client_that_writes_no_newline_does_not_fill_the_memory(
    board: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console_main, "MAX_UNFINISHED", 300)
    board.read(board.client())
    writer = board.client()
    writer.write("B" * 440)
    assert board.terminal.output == f"> {ERASE}{'B' * 440}\r\n> "


def test_without_a_reader_output_is_shown_as_it_comes(board: Bench) -> None:
    board.client().write("a\nb")
    assert board.terminal.output == "a\r\nb"


def test_secrets_are_neither_shown_nor_kept(board: Bench) -> None:
    client = board.client()
    future = board.read(client, "password: ", echo=False)
    board.type(b"hush")
    board.client().write("news\n")
    board.type(b"!\r")
    assert future.result(SECONDS) == "hush!"
    assert board.terminal.output == f"password: {ERASE}news\r\npassword: \r\n"
    future = board.read(client)
    board.type(b"\x1b[A\r")
    assert future.result(SECONDS) == ""


def test_each_client_has_its_own_history(board: Bench) -> None:
    one, two = board.client(), board.client()
    for client, typed in ((one, b"of one\r"), (two, b"of two\r")):
        future = board.read(client)
        board.type(typed)
        future.result(SECONDS)
    future = board.read(two, history=False)
    board.type(b"unkept\r")
    assert future.result(SECONDS) == "unkept"
    for client, line in ((one, "of one"), (two, "of two")):
        future = board.read(client)
        board.type(b"\x1b[A\r")
        assert future.result(SECONDS) == line


def test_control_c_interrupts_the_reader_whose_turn_it_is(board: Bench) -> None:
    first, second = board.read(board.client()), board.read(board.client())
    board.type(b"half\x03whole\r")
    with pytest.raises(Interrupted):
        first.result(SECONDS)
    assert second.result(SECONDS) == "whole"
    assert board.terminal.output == "> half^C\r\n> whole\r\n"


def test_control_d_ends_one_read_and_the_terminal_goes_on(board: Bench) -> None:
    client = board.client()
    first = board.read(client)
    board.type(b"\x04")
    with pytest.raises(EndOfInput):
        first.result(SECONDS)
    second = board.read(client)
    board.type(b"on\r")
    assert second.result(SECONDS) == "on"


def test_when_the_line_closes_all_readers_and_later_ones_hear_it(board: Bench) -> None:
    futures = [board.read(board.client()) for _ in range(3)]
    board.type(b"last words", b"")
    assert futures[0].result(SECONDS) == "last words"
    for future in futures[1:]:
        with pytest.raises(EndOfInput):
            future.result(SECONDS)
    with pytest.raises(EndOfInput):
        board.client().read_line("> ")
    board.client().write("still here\n")
    assert board.terminal.output.endswith("still here\r\n")


def test_a_client_that_was_started_anew_takes_its_own_place_and_typed_text(board: Bench) -> None:
    dead = board.read(board.client_of(7), "old> ")
    other = board.read(board.client_of(8), "other> ")
    board.type(b"half")
    board.terminal.until("old> half")
    anew: Future[str] = in_background(board.client_of(7).read_line, "new> ")
    with pytest.raises(Interrupted, match="another line"):
        dead.result(SECONDS)
    board.type(b" a line\r")
    assert other.result(SECONDS) == "half a line"
    board.type(b"and mine\r")
    assert anew.result(SECONDS) == "and mine"


def test_a_client_that_asks_again_while_another_types_changes_nothing_for_that(board: Bench) -> None:
    typing = board.read(board.client_of(7))
    first = board.read(board.client_of(8))
    board.type(b"ab")
    board.terminal.until("> ab")
    second: Future[str] = in_background(board.client_of(8).read_line, "> ")
    with pytest.raises(Interrupted):
        first.result(SECONDS)
    board.type(b"c\rd\r")
    assert (typing.result(SECONDS), second.result(SECONDS)) == ("abc", "d")


def test_a_driver_that_dies_is_asked_again(board: Bench) -> None:
    future = board.read(board.client())
    board.type(b"ab")
    board.terminal.until("> ab")
    board.terminal.typed.put(DIES)
    board.type(b"c\r")
    assert future.result(SECONDS) == "abc"
    board.terminal.deaths = 2
    board.client().write("shown all the same\n")
    assert board.terminal.output.endswith("abc\r\nshown all the same\r\n")


def test_no_prompt_is_shown_before_somebody_reads_what_is_typed(board: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new console's first prompt may be answered at once: its own read has to reach the driver before that."""
    console, waits = board.console, threading.Event()
    with console._lock:
        assert console._lock.wait_for(lambda: console._reads, SECONDS)
        console._reads = False
    wait_for = console._lock.wait_for

    def announced(predicate: Callable[[], bool]) -> bool:
        waits.set()
        return wait_for(predicate, SECONDS)

    monkeypatch.setattr(console._lock, "wait_for", announced)
    future: Future[str] = in_background(board.client().read_line, "> ")
    assert waits.wait(SECONDS)
    with console._lock:
        assert board.terminal.output == ""
        console._reads = True
        console._lock.notify_all()
    board.type(b"x\r")
    assert future.result(SECONDS) == "x"


# --- its next life ------------------------------------------------------------------------------------------------


def died(memory: CutMemory) -> CutMemory:
    """The state as a console left it that was killed now: what it does at its orderly end is not in it."""
    copy = CutMemory(memory.size)
    copy.bytes[:] = memory.bytes
    return copy


def test_the_line_being_typed_is_its_successors() -> None:
    memory = CutMemory(STATE_BYTES)
    with bench(memory) as board:
        future = board.read(board.client_of(7))
        board.type(b"hello\x02\x02", b"\x7f")
        board.terminal.until("> helo\x1b[2D")
        memory = died(memory)
    assert future.result(SECONDS) == "helo"
    with bench(memory) as board:
        future = board.read(board.client_of(7))
        board.terminal.until(f"{ERASE}> helo\x1b[2D")
        board.type(b"L\r")
        assert future.result(SECONDS) == "heLlo"


def test_what_was_typed_ahead_and_the_line_feed_behind_a_line_are_its_successors() -> None:
    memory = CutMemory(STATE_BYTES)
    with bench(memory) as board:
        future = board.read(board.client_of(7))
        board.type(b"one\r", b"\ntwo\rthr")
        assert future.result(SECONDS) == "one"
        with board.console._lock:
            assert board.console._lock.wait_for(lambda: board.console._typed.endswith(b"thr"), SECONDS)
        memory = died(memory)
    with bench(memory) as board:
        assert board.read(board.client_of(7)).result(SECONDS) == "two"
        future = board.read(board.client_of(7))
        board.type(b"ee\r")
        assert future.result(SECONDS) == "three"


def test_histories_and_waiting_output_are_its_successors() -> None:
    memory = CutMemory(STATE_BYTES)
    with bench(memory) as board:
        client = board.client_of(7)
        future = board.read(client)
        board.type(b"first\r")
        assert future.result(SECONDS) == "first"
        board.read(client)
        board.client_of(8).write_piece("no newline yet")
        memory = died(memory)
    with bench(memory) as board:
        future = board.read(board.client_of(7))
        board.type(b"\x10\r")
        assert future.result(SECONDS) == "first"
        assert board.terminal.output.endswith("first\r\nno newline yet")


def test_histories_are_kept_in_their_share() -> None:
    session = Session()
    histories = {1: ["x" * 4090, "short"], 2: ["y" * 100] * 400}
    session.write_histories(histories)
    assert sum(len(line) for _, line in session.histories) < HISTORY_BYTES
    assert session.read_histories()[1] == ["short"]
    assert len(session.read_histories()[2]) > 20


def test_its_reads_go_on_by_the_lane_that_it_has_kept() -> None:
    session = Session()
    lane = session.lane()
    assert (lane.next(), session.lane().name) == (1, lane.name)
    assert session.lane().next() == 1 | REPEATED
    session.read_by(lane)
    assert session.lane().next() == 2 | REPEATED


def reads(board: Bench, client: Console, line: bytes = b"run\r") -> None:
    """A client is handed a line."""
    future = board.read(client)
    board.type(line)
    future.result(SECONDS)


def test_control_c_is_told_to_the_client_that_was_handed_the_last_line(board: Bench) -> None:
    former, client = board.client(), board.client()
    reads(board, former)
    reads(board, client)
    waiting = in_background(former.wait_interrupt, 1)
    told = in_background(client.wait_interrupt, 1)
    board.type(b"dropped\r\x03", b"kept\r")
    assert told.result(SECONDS)
    assert board.terminal.output.endswith("> run\r\n^C\r\n")
    assert board.read(client).result(SECONDS) == "kept"
    former.end_command(1)
    assert not waiting.result(SECONDS)


def test_control_c_that_was_typed_before_a_client_waits_is_told_as_well(board: Bench) -> None:
    client = board.client()
    future = board.read(client)
    board.type(b"run\r\x03kept\r")
    assert future.result(SECONDS) == "run"
    assert client.wait_interrupt(1)
    assert board.read(client).result(SECONDS) == "kept"


def test_control_c_behind_a_commands_end_is_the_next_readers(board: Bench) -> None:
    client = board.client()
    reads(board, client)
    waiting = in_background(client.wait_interrupt, 7)
    client.end_command(7)
    assert not waiting.result(SECONDS)
    assert not client.wait_interrupt(7), "it came late"
    board.type(b"\x03")
    with pytest.raises(Interrupted):
        board.read(client).result(SECONDS)


def test_control_c_while_a_line_is_read_is_the_readers(board: Bench) -> None:
    client, other = board.client(), board.client()
    reads(board, client)
    waiting = in_background(client.wait_interrupt, 1)
    future = board.read(other)
    board.type(b"half\x03")
    with pytest.raises(Interrupted):
        future.result(SECONDS)
    assert not waiting.done()
    client.end_command(1)
    assert not waiting.result(SECONDS)


def test_who_waits_in_a_later_command_waits_in_the_former_no_more(board: Bench) -> None:
    client = board.client()
    reads(board, client)
    waiting = [in_background(client.wait_interrupt, command) for command in (1, 2)]
    assert not waiting[0].result(SECONDS), "whichever comes first"
    assert not client.wait_interrupt(1)
    board.type(b"\x03")
    assert waiting[1].result(SECONDS)


def test_who_was_handed_the_last_line_is_known_to_the_successor() -> None:
    memory = CutMemory(STATE_BYTES)
    with bench(memory) as board:
        reads(board, board.client_of(7))
        memory = died(memory)
    with bench(memory) as board:
        waiting = [in_background(board.client_of(badge).wait_interrupt, 1) for badge in (8, 7)]
        board.type(b"\x03")
        assert waiting[1].result(SECONDS)
        assert not waiting[0].done()
        board.client_of(8).end_command(1)
