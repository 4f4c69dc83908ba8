# mypy: disable-error-code="empty-body"
"""Calls that are repeated when their server dies: idempotent ones, and remembered ones, which are carried out once."""

from __future__ import annotations

import threading
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec
import pytest

from libsel4py import (
    DEFER,
    Endpoint,
    Interface,
    InvalidMessage,
    ReplyToken,
    ServerDied,
    ServiceError,
    Timeout,
    Untyped,
    component,
    idempotent,
    long_result,
    oneway,
    remembered,
    with_timeout,
)
from libsel4py import request_ids as ids
from libsel4py.abi import WORD_MASK, info_label, message_info
from libsel4py.capabilities import Reply
from libsel4py.context import Caller, per_thread
from libsel4py.dispatch import bind
from libsel4py.environment import Slot
from libsel4py.errors import RequestForgotten
from libsel4py.interface import endpoint_of, fingerprint, on_lane
from libsel4py.journal import LEAST_BYTES, CorruptJournal, Journal, JournalFull
from libsel4py.keeper import MOST_LANES, Keeper, KeptAnswer, Request, UnderWay
from libsel4py.lowlevel.machine import Answer
from libsel4py.lowlevel.syscalls import Message
from libsel4py.testing import connect, in_background, system
from libsel4py.testing.fake_objects import FakeEndpoint
from libsel4py.wire import Outcome
from libsel4py.workload import Workload
from tests.unit.sdk.cut_memory import Cut, CutMemory


class Odd(ServiceError):
    """The count is odd."""


class Till(Interface):
    @remembered
    def add(self, amount: int) -> int: ...

    @remembered
    def add_many(self, amounts: list[int]) -> list[int]: ...

    @remembered
    def add_odd(self, amount: int) -> None: ...

    @remembered
    def add_later(self, amount: int) -> int: ...

    @remembered
    def add_slowly(self, amount: int) -> int: ...

    @idempotent
    def total(self) -> int: ...

    @idempotent
    @long_result
    def listing(self, size: int) -> list[int]: ...

    def plain(self) -> int: ...


@component
class Main(Till):
    later: ReplyToken | None = None

    def __init__(self) -> None:
        self.waits, self.goes_on = threading.Event(), threading.Event()

    def start(self) -> None:
        self.state = self.kept(dict[str, int])

    def add(self, amount: int) -> int:
        self.state.value["sum"] = self.state.value.get("sum", 0) + amount
        return self.state.value["sum"]

    def add_many(self, amounts: list[int]) -> list[int]:
        return [self.add(amount) for amount in amounts]

    def add_odd(self, amount: int) -> None:
        if self.add(amount) % 2:
            raise Odd(self.total())

    def add_later(self, amount: int) -> int:
        self.later = self.defer_reply()
        self.waits.set()
        return DEFER

    def add_slowly(self, amount: int) -> int:
        self.waits.set()
        assert self.goes_on.wait(10)
        if amount < 0:
            raise Odd(amount)
        return self.add(amount)

    def total(self) -> int:
        return self.state.value.get("sum", 0)

    def listing(self, size: int) -> list[int]:
        return list(range(size))

    def plain(self) -> int:
        return 1


class OwedByHand:
    """A reply that is owed, and what it was answered by."""

    def __init__(self) -> None:
        self.heard: list[object] = []

    def relay(self, answer: Answer) -> None:
        self.heard.append(answer)

    def fail(self, error: Exception) -> None:
        self.heard.append(error)

    def hand_over(self, heir: OwedByHand) -> bool:
        raise AssertionError("it is nobody's but an heir's")


METHODS = Till.interface_methods
ADA = Caller(7, "ada")


class Lives:
    """A server with memory that outlives it, called by hand: requests as words, answers as they are."""

    def __init__(self, size: int = LEAST_BYTES) -> None:
        self.memory = CutMemory(size)
        self.begin()

    def begin(self) -> None:
        """Another life."""
        self.keeper = Keeper.open(self.memory)
        self.state = self.keeper.keep(dict[str, int])

    def carry_out(self, lane: int, count: int, caller: Caller = ADA) -> int:
        """Add one, in a request of this id; returns its answer."""
        request = self.keeper.begin(METHODS["add"], caller.name, caller.badge, lane, count)
        if not isinstance(request, Request):
            assert isinstance(request, tuple)
            return request[1]
        self.state.value["sum"] = self.state.value.get("sum", 0) + 1
        request.complete((1, self.state.value["sum"], 0, 0, 0))
        return self.state.value["sum"]


def test_a_repeated_request_is_answered_as_it_was() -> None:
    lives = Lives()
    assert lives.carry_out(1, 1) == 1
    assert lives.carry_out(1, 2) == 2
    lives.begin()
    assert lives.carry_out(1, 2 | ids.REPEATED) == 2
    assert lives.carry_out(1, 3 | ids.REPEATED) == 3
    assert lives.state.value == {"sum": 3}


def test_ended_at_any_store_a_request_is_carried_out_once() -> None:
    """Long enough that the journal's areas change several times."""
    lives = Lives()
    for count in range(1, 150):
        begun, stores = bytes(lives.memory.bytes), 0
        while True:
            lives.memory.bytes[:], lives.memory.left = begun, stores
            lives.begin()
            try:
                found = lives.carry_out(1, count)
            except Cut:
                lives.memory.left = None
                lives.begin()
                assert lives.state.value.get("sum", 0) in (count - 1, count)
                assert lives.carry_out(1, count | ids.REPEATED) == count
                assert lives.state.value == {"sum": count}
                stores += 1
            else:
                lives.memory.left = None
                assert found == count
                break
        assert stores > 3


def test_clients_with_one_badge_have_each_their_own_lanes() -> None:
    lives = Lives()
    lives.carry_out(1, 1)
    lives.carry_out(2, 1)
    lives.begin()
    assert lives.carry_out(1, 1 | ids.REPEATED) == 1
    assert lives.carry_out(2, 1 | ids.REPEATED) == 2


def test_what_one_client_sends_changes_nothing_of_anothers() -> None:
    """Ids of others, huge ones, old ones, and many lanes."""
    lives = Lives(1 << 16)
    lives.carry_out(1, 5)
    eve = Caller(8, "eve")
    assert lives.carry_out(1, 5, eve) == 2
    for lane in range(10 * MOST_LANES):
        lives.carry_out(lane, (1 << 63) - 1, eve)
    with pytest.raises(InvalidMessage, match="an older one"):
        lives.carry_out(10 * MOST_LANES - 1, 4, eve)
    lives.begin()
    assert lives.carry_out(1, 5 | ids.REPEATED) == 1
    total = lives.state.value["sum"]
    with pytest.raises(RequestForgotten):
        lives.carry_out(1, 5 | ids.REPEATED, eve)  # of her oldest lanes nothing is known any more
    assert lives.state.value["sum"] == total


def test_a_request_whose_answer_was_dropped_is_not_carried_out_again() -> None:
    """Nobody is greedy: there are more clients than the journal has room for answers of."""
    lives = Lives()
    clients = [Caller(badge, f"client {badge}") for badge in range(1, 30)]
    for each in clients:
        lives.carry_out(1, 1, each)
    forgotten = 0
    for _ in range(100):  # until a checkpoint has taken the place of all records, and has been taken itself
        lives.begin()
        for each in clients:
            try:
                lives.carry_out(1, 1 | ids.REPEATED, each)
            except RequestForgotten:
                forgotten += 1
        assert lives.state.value == {"sum": len(clients)}
        lives.keeper.commit([KeptAnswer("client 1", 1, 2, 1, 1, Outcome.OK, bytes(50))])
    assert forgotten


def test_answers_make_room_for_the_value() -> None:
    """A client that has many long answers kept would have all changes of the others refused, also of later lives."""
    lives, eve = Lives(), Caller(8, "eve")
    lives.state.value |= {f"{number:060}": number for number in range(24)}
    lives.keeper.commit()
    for lane in range(200):
        request = lives.keeper.begin(METHODS["add_odd"], eve.name, eve.badge, lane, 1)
        assert isinstance(request, Request)
        request.fail(InvalidMessage("x" * 180))
    for life in range(1, 10):
        lives.begin()
        del lives.state.value[f"{life:060}"]
        lives.keeper.commit()
        assert lives.carry_out(1, life) == life
    lives.state.value |= {f"{number:060}": number for number in range(100)}
    with pytest.raises(JournalFull, match="the state has"):
        lives.keeper.commit()
    assert lives.carry_out(1, 10) == 10


def test_answers_that_made_no_room_are_kept() -> None:
    """To note who has lost an answer takes room too: where even that was in vain, nothing is forgotten."""
    lives = Lives()
    clients = [Caller(badge, f"{badge}" * 60) for badge in range(1, 7)]
    for count, each in enumerate(clients, 1):
        assert lives.carry_out(1, 1, each) == count
    room = lives.keeper.most_bytes
    assert room is not None
    lives.state.value["x" * (room - 150)] = 1
    with pytest.raises(JournalFull):
        lives.keeper.commit()
    for count, each in enumerate(clients, 1):
        assert lives.carry_out(1, 1 | ids.REPEATED, each) == count


def test_room_is_made_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many answers give way to the value, they are not all packed again for each few of them."""
    lives = Lives(256 << 10)
    room = lives.keeper.most_bytes
    assert room is not None
    for badge in range(1, 1000):
        lives.carry_out(1, 1, Caller(badge, f"client {badge % 16}"))
    packed = []

    def counted(value: object) -> bytes:
        packed.append(msgspec.msgpack.encode(value))
        return packed[-1]

    monkeypatch.setattr("libsel4py.keeper._encode", counted)
    lives.state.value["x" * (room - 2000)] = 1
    lives.keeper.commit()
    assert sum(map(len, packed)) < 6 * room  # the value, a record of it, the least, all, each answer, what is left
    lives.begin()
    assert "x" * (room - 2000) in lives.state.value
    assert lives.carry_out(1, 1 | ids.REPEATED, Caller(999, "client 7")) == 999, "the youngest is left"


def test_who_has_lost_no_answer_is_served_as_ever() -> None:
    lives = Lives()
    for badge in range(1, 30):
        lives.carry_out(1, 1, Caller(badge, "eve"))
    lives.begin()
    assert lives.carry_out(1, 1 | ids.REPEATED) == 30
    eve = Caller(29, "eve")
    with pytest.raises(RequestForgotten):
        lives.carry_out(2, 1 | ids.REPEATED, eve)
    assert lives.carry_out(2, 1, eve) == 31
    assert lives.carry_out(2, 2 | ids.REPEATED, eve) == 32, "of this lane all is known"


def test_who_has_most_loses_its_oldest_where_the_journal_is_small() -> None:
    lives = Lives(4 * LEAST_BYTES)
    lives.carry_out(1, 1)
    for badge in range(100, 400):
        lives.carry_out(1, 1, Caller(badge, "eve"))
    lives.begin()
    assert lives.carry_out(1, 1 | ids.REPEATED) == 1


def test_an_id_is_not_for_another_method() -> None:
    lives = Lives()
    lives.carry_out(1, 1)
    with pytest.raises(InvalidMessage, match="id is that of another"):
        lives.keeper.begin(METHODS["add_many"], "ada", 7, 1, 1)


def test_a_request_that_is_under_way_is_not_begun_again() -> None:
    lives = Lives()
    request = lives.keeper.begin(METHODS["add"], "ada", 7, 1, 1)
    with pytest.raises(InvalidMessage, match="under way"):
        lives.keeper.begin(METHODS["add"], "ada", 7, 1, 1)
    assert lives.carry_out(1, 2) == 1, "the client has given the first one up"
    assert isinstance(request, Request)
    request.complete((1, 99, 0, 0, 0))
    assert lives.carry_out(1, 2) == 1, "what comes too late is not remembered"


def test_a_client_that_goes_on_in_its_next_life_hears_what_its_former_one_waited_for() -> None:
    lives = Lives()
    former = lives.keeper.begin(METHODS["add"], "ada", 7, 1, 1)
    assert isinstance(former, Request)
    heirs = [OwedByHand() for _ in range(3)]
    for heir in heirs[:2]:
        again = lives.keeper.begin(METHODS["add"], "ada", 7, 1, 1 | ids.REPEATED)
        assert again == UnderWay(former)
        again.wait(heir)
    assert [type(each) for each in heirs[0].heard] == [RequestForgotten], "its sender died, too"
    with pytest.raises(InvalidMessage, match="under way"):
        lives.keeper.begin(METHODS["add_many"], "ada", 7, 1, 1 | ids.REPEATED)
    former.complete((1, 98, 0, 0, 0))
    UnderWay(former).wait(heirs[2])
    assert heirs[1].heard == heirs[2].heard == [(1, 98, 0, 0, 0)]
    assert lives.carry_out(1, 1 | ids.REPEATED) == 98


def test_what_cannot_be_remembered_who_repeated_it_hears_too() -> None:
    lives = Lives()
    request = lives.keeper.begin(METHODS["add"], "ada", 7, 1, 1)
    assert isinstance(request, Request)
    heir, late = OwedByHand(), OwedByHand()
    UnderWay(request).wait(heir)
    with pytest.raises(JournalFull) as full:
        request.complete(bytes(LEAST_BYTES))
    UnderWay(request).wait(late)
    assert heir.heard == [full.value]
    assert [type(each) for each in late.heard] == [RequestForgotten]


def test_what_is_repeated_before_its_deferred_answer_is_not_begun_again() -> None:
    main = Main()
    with connect(main) as till:
        first = in_background(on_lane(till, ids.Lane(7)).add_later, 3)
        assert main.waits.wait(10)
        former, owed = main.later, threading.Event()
        add = main.server.owed.add

        def noted(client: str) -> None:
            add(client)
            owed.set()

        main.server.owed.add = noted  # type: ignore[method-assign]
        second = in_background(on_lane(till, ids.Lane(7, 1, unanswered=True)).add_later, 3)
        assert owed.wait(10)
        with pytest.raises(InvalidMessage, match="sent again"):
            first.result(10)
        assert main.later is former is not None
        former.complete(main.add(3))
        assert (second.result(10), till.total()) == (3, 3)
        assert main.server.owed.count() == 0
        assert on_lane(till, ids.Lane(7, 1, unanswered=True)).add_later(3) == 3


class ServedByHand:
    """A client whose request runs on this thread."""

    caller = ADA

    def __init__(self) -> None:
        self.owed = OwedByHand()

    def defer(self) -> OwedByHand:
        return self.owed


@pytest.mark.parametrize("amount", [3, -3], ids=["answered", "raised"])
def test_what_is_repeated_while_another_thread_does_it_is_done_once(amount: int) -> None:
    with system():
        main, keeper = Main(), Keeper()
        main.state = keeper.keep(dict[str, int])
        entry = bind(METHODS, main, lambda data: 0, lambda: keeper)[METHODS["add_slowly"].label]
        info = message_info(entry.method.label, 3)

        def ask(count: int) -> tuple[Answer, list[object]]:
            former, per_thread.serving = per_thread.serving, (serving := ServedByHand())
            try:
                return entry.handle(info, 7, count, amount & WORD_MASK, 0), serving.owed.heard
            finally:
                per_thread.serving = former

        first = in_background(ask, 1)
        assert main.waits.wait(10)
        _, heard = ask(1 | ids.REPEATED)
        assert heard == []
        main.goes_on.set()
        if amount > 0:
            assert [first.result(10)[0]] == heard == [(1, amount, 0, 0, 0)]
        else:
            with pytest.raises(Odd):
                first.result(10)
            assert [info_label(words[0]) for words in heard if isinstance(words, tuple)] == [Outcome.DECLARED]
        assert main.total() == max(0, amount)


def test_without_a_journal_a_repeated_request_is_not_carried_out() -> None:
    keeper = Keeper()
    with pytest.raises(RequestForgotten):
        keeper.begin(METHODS["add"], "ada", 7, 1, 1 | ids.REPEATED)
    assert isinstance(keeper.begin(METHODS["add"], "ada", 7, 1, 1), Request)


def test_damaged_memory_is_an_error_in_the_log_and_a_fresh_start(caplog: pytest.LogCaptureFixture) -> None:
    lives = Lives()
    lives.carry_out(1, 1)
    lives.memory.bytes[40] ^= 3
    lives.memory.bytes[LEAST_BYTES // 2 + 40] ^= 3
    lives.begin()
    assert "lost, it begins anew: record 0 of the journal" in caplog.text
    lives.begin()  # the life that has found it was ended before it did anything
    assert lives.state.value == {}
    with pytest.raises(RequestForgotten):
        lives.carry_out(1, 1 | ids.REPEATED)
    assert lives.carry_out(1, 2) == 1
    lives.begin()
    assert lives.state.value == {"sum": 1}


def test_a_flipped_bit_is_a_warning_in_the_log_and_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    lives = Lives()
    lives.carry_out(1, 1)
    for place in (0, 40):
        lives.memory.bytes[place] ^= 4
        lives.begin()
        assert "1 bits had been flipped" in caplog.text
        caplog.clear()
        assert lives.carry_out(1, 1 | ids.REPEATED) == 1
        assert lives.state.value == {"sum": 1}
    lives.begin()
    assert not caplog.text


HEADS = 0, LEAST_BYTES // 2
RECORDS = 40, LEAST_BYTES // 2 + 40


@pytest.mark.parametrize(
    ("count", "places"),
    [(1, RECORDS[:1]), *((count, each) for count in (1, 80) for each in (HEADS[:1], HEADS[1:], HEADS, RECORDS))],
    ids=str,
)
def test_ended_at_any_store_of_its_fresh_start_a_life_knows_what_was_lost(count: int, places: tuple[int, ...]) -> None:
    """``count``: of requests, which change the areas. ``places``: of damaged bytes."""
    damaged = Lives()
    for number in range(1, count + 1):
        damaged.carry_out(1, number)
    for place in places:
        damaged.memory.bytes[place] ^= 3
    begun, stores = bytes(damaged.memory.bytes), 0
    with pytest.raises(CorruptJournal):
        Journal(damaged.memory)
    while True:
        damaged.memory.bytes[:], damaged.memory.left = begun, stores
        try:
            damaged.begin()
            break
        except Cut:
            damaged.memory.left = None
        damaged.begin()
        assert damaged.state.value == {}
        with pytest.raises(RequestForgotten):
            damaged.carry_out(1, count | ids.REPEATED)
        stores += 1
    assert stores > 4


def test_a_value_of_another_type_begins_anew(caplog: pytest.LogCaptureFixture) -> None:
    memory = CutMemory(LEAST_BYTES)
    kept = Keeper.open(memory).keep(dict[str, str])
    kept.value["a"] = "b"
    kept.commit()
    assert Keeper.open(memory).keep(dict[str, int]).value == {}
    assert "it begins anew" in caplog.text


def test_a_value_that_is_too_large_is_what_it_was(caplog: pytest.LogCaptureFixture) -> None:
    lives = Lives()
    lives.carry_out(1, 1)
    lives.state.value.update({f"{number}" * 9: number for number in range(300)})
    with pytest.raises(JournalFull):
        lives.state.commit()
    assert lives.state.value == {"sum": 1}
    assert lives.carry_out(1, 2) == 2


def test_a_task_keeps_one_value() -> None:
    with pytest.raises(ValueError, match="one value"):
        Lives().keeper.keep(dict[str, int])


@pytest.mark.parametrize("outcome", [0, Outcome.DECLARED, 1 << 60])
@pytest.mark.parametrize("payload", [None, 5, -5, 1 << 63, b"", b"x" * 900])
def test_a_kept_answer_is_some_answer_whatever_it_holds(outcome: int, payload: bytes | int | None) -> None:
    with connect(Main):
        try:
            KeptAnswer("", 1, 1, 1, 1, outcome, payload).answer()
        except (ValueError, OverflowError):
            assert outcome == 1 << 60


# --- calls --------------------------------------------------------------------------------------------------------


def test_answers_of_all_kinds_travel_as_those_of_plain_methods_do() -> None:
    with connect(Main) as till:
        assert till.add(5) == 5
        assert till.add(-7) == -2
        assert till.add_many([1, 2]) == [-1, 1]
        with pytest.raises(Odd) as odd:
            till.add_odd(2)
        assert odd.value.args == (3,)
        assert till.add_odd(1) is None  # type: ignore[func-returns-value]  # that it is None is what is asked
        assert till.total() == 4
        assert till.listing(3000) == list(range(3000))


@pytest.mark.parametrize(
    ("lane", "count", "outcome"),
    [
        (1, 5, Outcome.OK),
        (-1, 5, Outcome.INVALID_MESSAGE),
        (5, -1, Outcome.INVALID_MESSAGE),
        (1 << 63, -(1 << 16), Outcome.INVALID_MESSAGE),
    ],
)
def test_an_id_is_two_words(lane: int, count: int, outcome: Outcome) -> None:
    """In bytes a number could be negative: such a request is refused, and not carried out."""
    data = msgspec.msgpack.encode((lane, count, [1]))
    words = (len(data), *(int.from_bytes(data[at : at + 8], "little") for at in range(0, len(data), 8)))
    with connect(Main) as till:
        answer = endpoint_of(till).call(Message(METHODS["add_many"].label, words))
        assert answer.label == outcome
        assert till.total() == (outcome is Outcome.OK)


def test_a_deferred_answer_is_remembered_when_it_is_given() -> None:
    main = Main()
    with connect(main) as till:
        answer = in_background(till.add_later, 3)
        assert main.waits.wait(10)
        main.state.value["sum"] = 10
        assert main.later is not None
        main.later.complete(13)
        assert answer.result(10) == 13
        keeper = main.task.keeper
        assert keeper is not None
        assert [each.payload for each in keeper._answers.values()] == [13]


@contextmanager
def served_by_hand(*answers: Message | None) -> Iterator[tuple[Till, list[tuple[int, ...]]]]:
    """A client whose requests are answered so, one after the other, and what they were. None: no answer at all."""
    with system() as fake:
        endpoint = FakeEndpoint()
        requests: list[tuple[int, ...]] = []
        receiving, reply = Endpoint(fake.new(endpoint)), Reply(Slot.REPLY)
        waiting = list(answers)

        def step() -> None:
            received = receiving.nb_recv(reply)
            if received is None:
                return
            requests.append((received.label, *received.words))
            answer = waiting.pop(0)
            if answer is not None:
                reply.send(answer)

        fake.kernel.attend(endpoint, step)
        yield Till(Endpoint(fake.new(endpoint, badge=1))), requests


DIED = Message(Outcome.SERVER_DIED)


def test_an_idempotent_call_is_made_again_when_its_server_dies() -> None:
    with served_by_hand(DIED, DIED, Message(0, (5,))) as (till, requests):
        assert till.total() == 5
        assert requests == [(METHODS["total"].label,)] * 3


def test_a_remembered_call_is_made_again_with_its_id() -> None:
    ids.forget_lanes()
    with served_by_hand(DIED, Message(0, (5,)), Message(0, (6,))) as (till, requests):
        assert till.add(4) == 5
        assert till.add(4) == 6
        (label, lane, count, amount), again, further = requests
        assert (label, amount, count) == (METHODS["add"].label, 4, 1)
        assert again == (label, lane, 1 | ids.REPEATED, 4)
        assert further == (label, lane, 2, 4)


def test_a_lane_that_its_client_keeps_goes_on() -> None:
    answers = [Message(0, (5,))] * 3
    with served_by_hand(*answers) as (till, requests):
        lane = ids.Lane(77, 4, unanswered=True)
        mine = on_lane(till, lane)
        mine.add(1)
        mine.add(1)
        till.add(1)
    assert [request[1:3] for request in requests[:2]] == [(77, 4 | ids.REPEATED), (77, 5)]
    assert requests[2][1] != 77


def test_another_life_of_the_client_has_other_ids() -> None:
    with served_by_hand(*[Message(0, (5,))] * 10) as (till, requests):
        for _ in range(10):
            ids.forget_lanes()
            till.add(4)
        lanes = {request[1] for request in requests}
    assert len(lanes) == 10


def test_calls_at_one_time_have_each_their_own_lane() -> None:
    first, second = ids.take_lane(), ids.take_lane()
    assert first.name != second.name
    ids.give_back_lane(second)
    ids.give_back_lane(first)


def test_a_plain_call_is_not_repeated() -> None:
    with served_by_hand(DIED) as (till, requests), pytest.raises(ServerDied):
        till.plain()
    assert len(requests) == 1


def test_a_request_that_kills_its_server_is_repeated_some_times_only() -> None:
    with served_by_hand(*[DIED] * (ids.MOST_REPEATS + 1)) as (till, requests), pytest.raises(ServerDied):
        till.total()
    assert len(requests) == ids.MOST_REPEATS + 1


def test_a_workload_counts_what_was_repeated() -> None:
    load = Workload("till", write=lambda line: None)
    with served_by_hand(DIED, DIED, Message(0, (5,)), Message(0, (6,)), DIED, Message(0, (7,))) as (till, requests):
        for expected in (5, 6):
            with load.attempt():
                assert till.total() == expected
        assert load.repeated == 2
        with load.attempt():
            assert till.add(1) == 7  # a remembered one
    assert (load.attempts, load.failed, load.repeated, len(requests)) == (3, 0, 3, 6)


def test_what_the_successor_cannot_know_is_not_asked_twice() -> None:
    with served_by_hand(DIED, Message(Outcome.FORGOTTEN)) as (till, requests), pytest.raises(RequestForgotten):
        till.add(1)
    assert len(requests) == 2


def test_a_successor_that_does_not_come_in_time_leaves_the_first_death() -> None:
    with served_by_hand(DIED, None) as (till, requests):
        with pytest.raises(ServerDied) as died:
            with_timeout(till, 0.05).total()
        assert isinstance(died.value.__cause__, Timeout)
    assert len(requests) == 2


def test_no_time_that_is_left_is_no_repeat(monkeypatch: pytest.MonkeyPatch) -> None:
    died = ServerDied("died")
    monkeypatch.setattr(ids, "clock", lambda: 1000)
    assert ids.time_to_repeat(died, 1, 600, 500) == 100
    with pytest.raises(ServerDied):
        ids.time_to_repeat(died, 1, 500, 500)
    assert ids.time_to_repeat(died, 1, -1, 0) == -1


def test_a_lane_is_given_back_whatever_becomes_of_the_call() -> None:
    ids.forget_lanes()
    with served_by_hand(Message(0, (1,)), Message(Outcome.FORGOTTEN), Message(0, (1,))) as (till, requests):
        till.add(1)
        with pytest.raises(ServerDied):
            till.add(1)
        till.add(1)
    assert [request[2] for request in requests] == [1, 2, 3]
    assert len({request[1] for request in requests}) == 1


# --- what may be declared -----------------------------------------------------------------------------------------


def declare(function: Callable[..., object]) -> None:
    type("Declared", (Interface,), {"method": function, "__module__": __name__})


def takes(self: Interface, pool: Untyped) -> None: ...
def gives(self: Interface) -> Endpoint: ...
def lists(self: Interface) -> list[int]: ...
def tells(self: Interface) -> None: ...


@pytest.mark.parametrize(
    ("decorate", "function", "why"),
    [
        (remembered, takes, "a capability cannot be"),
        (remembered, gives, "a capability cannot be"),
        (lambda function: remembered(long_result(function)), lists, "a long result is not"),
        (lambda function: idempotent(oneway(function)), tells, "nobody is told"),
        (lambda function: remembered(oneway(function)), tells, "nobody is told"),
    ],
)
def test_what_cannot_be_repeated_is_refused(
    decorate: Callable[[Callable[..., object]], Callable[..., object]], function: Callable[..., object], why: str
) -> None:
    copy = types.FunctionType(function.__code__, function.__globals__, function.__name__)
    copy.__annotations__ = dict(function.__annotations__)
    with pytest.raises(TypeError, match=why):
        declare(decorate(copy))


def test_one_of_the_two_is_said() -> None:
    with pytest.raises(TypeError, match="idempotent already"):
        remembered(idempotent(lambda self: None))


def test_remembering_is_a_part_of_the_fingerprint_and_repeating_is_not() -> None:
    def make(decorate: Callable[..., object]) -> str:
        def one(self: Interface, a: int) -> int: ...

        return fingerprint(type("One", (Interface,), {"one": decorate(one), "__module__": __name__}))

    assert make(lambda function: function) == make(idempotent) != make(remembered)
