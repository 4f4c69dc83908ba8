"""A memory object that wants ever more of its pager holds up nobody else."""

from __future__ import annotations

import io
import itertools
import logging
from collections.abc import Iterator

import pytest

from libsel4py.capabilities import Frame
from libsel4py.errors import RequestForgotten, ServerDied, Timeout, TooManyDeferred
from libsel4py.interfaces.memory_object import MOST_REQUESTS, LockRequest
from libsel4py.pagers import wanted
from libsel4py.pagers.blob import Blob
from libsel4py.pagers.residence import RETURN_FAILURES
from libsel4py.task import as_task
from tests.unit.sdk.paging import BASE, PAGE, PagingBoard, paging_board
from tests.unit.sdk.test_remote_objects import TEXT, Remote

GIVEN_UP = 4 * MOST_REQUESTS  # or a test of a pager that asks for ever would not end


class Unending(Blob):
    """Wants something each time that it is asked, once it is told to."""

    is_hostile = False

    def __init__(self, board: PagingBoard, file: io.BytesIO) -> None:
        super().__init__(board.frames, file)
        self.asked = 0

    def lock_next(self) -> LockRequest | None:
        if not self.is_hostile:
            return super().lock_next()
        self.asked += 1
        assert self.asked < GIVEN_UP, "the pager asks for ever"
        return LockRequest(self.asked, 0, PAGE)


class Scene:
    """One client sees a hostile object, the other one bytes of the pager's own task."""

    def __init__(self, board: PagingBoard) -> None:
        self.board, self.file = board, io.BytesIO(bytes(2 * PAGE))
        self.hostile = Unending(board, self.file)
        self.victim, self.other = board.client("victim"), board.client("other")
        self.region = board.pager.attach(self.victim.space, BASE, 2 * PAGE, self.hostile)
        board.pager.attach(self.other.space, BASE, 2 * PAGE, Blob(board.frames, b"good" + bytes(2 * PAGE)))

    def signal(self) -> None:
        self.board.wake.signal()
        self.board.step()


@pytest.fixture
def scene() -> Iterator[Scene]:
    with paging_board() as board, as_task(board.task):
        yield Scene(board)


def test_an_object_that_asks_without_end_is_used_no_more_and_others_go_on(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    scene.victim.write(BASE, b"written before")
    scene.hostile.is_hostile = True
    with caplog.at_level(logging.WARNING):
        scene.signal()
    assert f"used no more, and its pages are gone: it asked for more than {MOST_REQUESTS} things" in caplog.text
    assert scene.other.read(BASE, 4) == b"good"
    assert scene.file.getvalue()[:14] == b"written before"  # it was given back what was dirty
    assert scene.victim.rights(BASE) == 0
    scene.board.listen()
    assert not scene.victim.touch(BASE)
    assert scene.board.heard() is not None  # its supervisor
    asked = scene.hostile.asked
    scene.signal()
    assert scene.hostile.asked == asked
    free = scene.board.slots.free_count
    scene.board.pager.detach(scene.region)
    assert scene.board.slots.free_count >= free


def test_an_object_that_has_much_to_ask_says_none_in_between_and_is_served_to_the_end(scene: Scene) -> None:
    scene.victim.write(BASE, b"!")
    for _ in range(2 * MOST_REQUESTS):
        ticket = scene.hostile.lock(0, PAGE, clean=True)
    scene.board.step()  # one signal: all of them together
    assert not scene.hostile.is_completed(ticket)
    while not scene.hostile.is_completed(ticket):
        scene.board.step()  # its own signal
    assert (scene.victim.read(BASE, 1), scene.other.read(BASE, 4)) == (b"!", b"good")


class Slow:
    """A clock that each look at moves on."""

    def __init__(self, seconds: float) -> None:
        self._ticks = itertools.count()
        self._seconds = seconds

    def monotonic(self) -> float:
        return next(self._ticks) * self._seconds


class Dripping(Blob):
    """Answers each question in time, and has always another answer."""

    def lock_next(self) -> LockRequest | None:
        return LockRequest(1, 0, PAGE)


def test_an_object_that_takes_the_pagers_patience_for_its_questions_is_ended(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wanted, "time", Slow(1.0))  # each answer takes a second, and none is too late
    requests = wanted.wanted_by(Dripping(scene.board.frames, scene.file), 5.0)
    with pytest.raises(wanted.Unending, match="more than 5 s"):
        assert sum(1 for _ in requests) < MOST_REQUESTS
    assert sum(1 for _ in itertools.islice(wanted.wanted_by(Dripping(scene.board.frames, scene.file), None), 10)) == 10


def test_what_an_ended_object_of_another_task_does_not_take_in_time_is_lost_and_no_more_waited_for() -> None:
    with paging_board() as board, as_task(board.task):
        remote = Remote(board)
        region = board.pager.attach(remote.client.space, BASE, 4 * PAGE, remote.stub)
        for number in range(3):
            remote.client.write(BASE + number * PAGE, b"x")
        residence, calls = region.residence, list[int]()

        def data_return(offset: int, length: int, frame: Frame, dirty: bool, keep: bool) -> None:
            calls.append(offset)
            raise Timeout("5 s")

        residence.source.data_return = data_return  # type: ignore[method-assign]
        residence.source.lock_next = lambda: LockRequest(1, 0, 0)  # type: ignore[method-assign]
        board.wake.signal()
        board.step()
        assert len(calls) == 1
        assert residence.ended is not None
        assert not residence.pages


def test_an_object_that_is_given_up_is_asked_nothing_more_and_its_pages_are_errors() -> None:
    with paging_board() as board, as_task(board.task):
        remote = Remote(board)
        failed: list[Exception] = []
        board.pager._failed = lambda region, error: failed.append(error)
        region = board.pager.attach(remote.client.space, BASE, 4 * PAGE, remote.stub)
        remote.client.write(BASE, b"lost")
        source = region.residence.source

        def silent(*_: object) -> None:
            raise Timeout("5 s")

        for name in ("data_request", "data_return", "terminate"):
            setattr(source, name, silent)
        board.listen()
        assert not remote.client.touch(BASE + PAGE)
        assert [type(error) for error in failed] == [Timeout]
        region.residence.abandon("it does not answer")
        assert remote.client.rights(BASE) == 0
        board.pager.detach(region)  # asks nothing: nothing is raised
        assert remote.file.getvalue() == TEXT


@pytest.mark.parametrize("error", [TooManyDeferred("later"), RequestForgotten("gone"), ServerDied("dead")])
def test_whatever_an_object_raises_the_thread_is_not_left_waiting(error: Exception) -> None:
    """An exception of an interface that the pager knows for another reason is a refusal like any other."""
    with paging_board() as board, as_task(board.task):
        remote = Remote(board)
        region = board.pager.attach(remote.client.space, BASE, 4 * PAGE, remote.stub)
        remote.client.write(BASE, b"kept")

        def fails(*_: object) -> None:
            raise error

        for name in ("data_request", "data_return", "terminate"):
            setattr(region.residence.source, name, fails)
        board.listen()
        assert not remote.client.touch(BASE + PAGE)
        assert board.heard() is not None  # its supervisor
        with pytest.raises(RETURN_FAILURES):
            board.pager.detach(region)
        assert remote.client.rights(BASE) == 0
