# mypy: disable-error-code="empty-body"
"""Clients that complain of a server whose answers do not decode; the reincarnation server is a fake that keeps them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import libsel4py.complaints
from libsel4py import Endpoint, InvalidMessage, RemoteError, ServerDied, Timeout, Word, WrongAnswer, with_timeout
from libsel4py.complaints import UNKNOWN, Complainer, judge
from libsel4py.environment import COMPLAINTS_INTERFACE
from libsel4py.interface import Interface, find_interface
from libsel4py.interfaces.complaints import Complaints, Ruling, Verdict
from libsel4py.interfaces.system import NotPermitted
from libsel4py.testing import TestSystem
from libsel4py.testing.fake_objects import FakeEndpoint


class Said(Interface):
    def say(self, what: str) -> str: ...


class Judge:
    """Lives of one task, and what is said of them."""

    def __init__(self) -> None:
        self.serving, self.heard = 1, list[tuple[str, int, str]]()
        self.refuses: Exception | None = None
        self.asked = 0

    def life(self, task: str) -> Word:
        self.asked += 1
        if self.refuses is not None:
            raise self.refuses
        return Word(self.serving)

    def complain(self, task: str, life: int, why: str) -> Ruling:
        if self.refuses is not None:
            raise self.refuses
        self.heard.append((task, life, why))
        verdict = Verdict.ENDED if life == self.serving else Verdict.LATE
        self.serving += verdict is Verdict.ENDED
        return Ruling(verdict, self.serving)


def complainer(judge: Judge) -> Complainer:
    return Complainer(judge, "block")  # type: ignore[arg-type]  # a fake of its interface


class Teller(Said):
    """A client whose answers are made up: what `judge` wraps is a class's methods."""

    answer: Callable[[], str]
    interface_methods = Said.interface_methods

    def say(self, what: str) -> str:
        return self.answer()


def lie() -> str:
    raise WrongAnswer("the result of Said.say does not decode")


def teller(court: Judge, answer: Callable[[], str]) -> Teller:
    made = Teller.__new__(Teller)
    made.answer = answer
    return judge(made, complainer(court))


def test_the_interface_is_what_descriptions_call_it() -> None:
    assert find_interface(COMPLAINTS_INTERFACE) is Complaints


def test_an_answer_that_is_wrong_is_raised_and_complained_of() -> None:
    court = Judge()
    with pytest.raises(WrongAnswer):
        teller(court, lie).say("x")
    assert court.heard == [("block", 1, "the result of Said.say does not decode")]


def test_what_the_server_refuses_and_its_end_are_no_complaint() -> None:
    def refuse(error: Exception) -> Callable[[], str]:
        def answer() -> str:
            raise error

        return answer

    court = Judge()
    for error in (InvalidMessage("what you said"), RemoteError("KeyError", "k"), ServerDied("it did")):
        with pytest.raises(type(error)):
            teller(court, refuse(error)).say("x")
    assert teller(court, lambda: "truth").say("x") == "truth"
    assert court.heard == []


def test_an_answer_is_complained_of_by_the_life_that_was_known_before_the_call() -> None:
    """Another thread has complained of that life meanwhile, and knows the next one: that has not answered this."""
    court = Judge()
    client = teller(court, lie)

    def other_thread() -> str:
        mine, client.answer = client.answer, lie
        with pytest.raises(WrongAnswer):
            client.say("first")
        client.answer = mine
        return lie()

    client.answer = other_thread
    with pytest.raises(WrongAnswer):
        client.say("x")
    assert [life for _, life, _ in court.heard] == [1, 1]
    assert court.serving == 2


def test_a_life_that_was_not_known_is_let_alone_once() -> None:
    court = Judge()
    client = teller(court, lie)
    for _ in range(2):
        with pytest.raises(WrongAnswer):
            client.say("x")
    court.serving = 7  # it has died by itself meanwhile
    with pytest.raises(WrongAnswer):
        client.say("x")
    assert (court.serving, court.heard[-1][1]) == (7, 3)
    with pytest.raises(WrongAnswer):
        client.say("x")
    assert court.serving == 8


def test_a_client_with_another_time_limit_complains_too() -> None:
    court = Judge()
    client = with_timeout(teller(court, lie), 3.0)
    assert client._timeout_ns == 3_000_000_000
    with pytest.raises(WrongAnswer):
        client.say("x")
    assert len(court.heard) == 1


@pytest.mark.parametrize("error", [NotPermitted("not you"), ServerDied("it did"), RemoteError("KeyError", "k")])
def test_a_complaint_that_is_not_heard_leaves_the_error_as_it_is(error: Exception) -> None:
    court = Judge()
    court.refuses = error
    with pytest.raises(WrongAnswer):
        teller(court, lie).say("x")
    assert complainer(court).life() == UNKNOWN
    assert complainer(court).complain(Word(1), "why") is None


def test_who_does_not_answer_is_asked_once_and_told_of_wrong_answers_all_the_same() -> None:
    court = Judge()
    court.refuses = Timeout("it hangs")
    client = teller(court, lambda: "truth")
    assert [client.say("x") for _ in range(3)] == ["truth"] * 3
    assert court.asked == 1
    court.refuses, client.answer = None, lie
    for verdicts in (1, 2):
        with pytest.raises(WrongAnswer):
            client.say("x")
        assert len(court.heard) == verdicts
    assert ([life for _, life, _ in court.heard], court.serving) == ([UNKNOWN, 1], 2)


def test_nobody_is_kept_by_who_hears_complaints_and_hangs(fake: TestSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libsel4py.complaints, "HEARD_SECONDS", 0.01)
    nobody = Complainer(Complaints(Endpoint(fake.new(FakeEndpoint(), badge=1))), "block")
    assert nobody.life() == UNKNOWN
    assert nobody.complain(Word(1), "why") is None


def test_a_method_can_complain_of_what_decodes() -> None:
    court = Judge()
    mine = complainer(court)
    life = mine.life()
    assert mine.complain(life, "another checksum") is Verdict.ENDED
    assert mine.complain(life, "another checksum") is Verdict.LATE
    assert mine.life() == 2
