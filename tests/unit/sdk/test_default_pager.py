"""A pager takes over what another task's object does not take back, and offers it again (Mach's default pager)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from libsel4py.abi import Rights
from libsel4py.capabilities import Frame
from libsel4py.errors import ServerDied, Timeout
from libsel4py.interfaces.memory_object import Answer, DataError, unavailable
from libsel4py.pager import Pager
from libsel4py.pagers.frames import Frames
from libsel4py.pagers.regions import Region
from libsel4py.task import as_task
from tests.unit.sdk.paging import BASE, PAGE, Client, PagingBoard, paging_board
from tests.unit.sdk.test_remote_objects import TEXT, Remote

READ, WRITE = int(Rights.READ), int(Rights.READ | Rights.WRITE)
MOST = 2


class Scene:
    """A client that sees another task's file, which can become silent, full or dead."""

    def __init__(self, board: PagingBoard) -> None:
        self.board, self.remote = board, Remote(board)
        self.client: Client = self.remote.client
        self.calls = 0
        self.fails: Callable[[], Exception] | None = None

    def attach(self) -> Region:
        region = self.board.pager.attach(self.client.space, BASE, 4 * PAGE, self.remote.stub)
        given, self.source = region.residence.source.data_return, region.residence.source

        def data_return(offset: int, length: int, frame: Frame, dirty: bool, keep: bool) -> None:
            self.calls += 1
            if self.fails is not None:
                raise self.fails()
            given(offset, length, frame, dirty, keep)

        region.residence.source.data_return = data_return  # type: ignore[method-assign]
        return region

    def wake(self) -> None:
        """The object's signal."""
        self.board.wake.signal()
        self.board.step()


@pytest.fixture
def scene() -> Iterator[Scene]:
    with paging_board(takes_over=MOST) as board:
        made = Scene(board)
        with as_task(board.task):
            yield made


FAILURES = {"slow": lambda: Timeout("5 s"), "dead": lambda: ServerDied("killed"), "unwilling": lambda: DataError("no")}


@pytest.mark.parametrize("failure", FAILURES)
def test_MACH14_what_an_object_does_not_take_back_stays_and_is_offered_again(scene: Scene, failure: str) -> None:
    board, client = scene.board, scene.client
    region = scene.attach()
    client.write(BASE, b"first")
    client.write(BASE + PAGE, b"second")
    client.read(BASE + 2 * PAGE, 1)
    scene.fails = FAILURES[failure]
    with pytest.raises((Timeout, ServerDied, DataError)):  # of the page that nobody wrote to: no loss
        board.pager.give_back(region)
    assert client.rights(BASE) == 0
    assert client.read(BASE, 5) == b"first"
    client.write(BASE + PAGE, b"SECOND")
    assert scene.remote.file.getvalue() == TEXT
    scene.fails = None
    scene.wake()
    assert scene.remote.file.getvalue()[:5] == b"first"
    assert scene.remote.file.getvalue()[PAGE : PAGE + 6] == b"SECOND"
    assert client.read(BASE + PAGE, 6) == b"SECOND"  # the object's again: its frame, as it has been written
    assert client.rights(BASE + PAGE) == READ
    board.pager.detach(region)
    assert scene.remote.file.getvalue()[PAGE : PAGE + 6] == b"SECOND"


def test_MACH14_an_object_that_is_slow_is_waited_for_once(scene: Scene) -> None:
    region = scene.attach()
    for number in range(MOST):
        scene.client.write(BASE + number * PAGE, b"x")
    scene.fails = FAILURES["slow"]
    scene.board.pager.give_back(region)
    assert scene.calls == 1
    assert [scene.client.read(BASE + number * PAGE, 1) for number in range(MOST)] == [b"x", b"x"]


@pytest.mark.parametrize("takes_over", [0, MOST])
def test_an_object_that_is_slow_is_waited_for_once_when_it_is_used_no_more(takes_over: int) -> None:
    """Or one client with a slow object of its own kept all others of the pager waiting, as long as it has pages."""
    with paging_board(takes_over=takes_over) as board, as_task(board.task):
        scene = Scene(board)
        region = scene.attach()
        for number in range(MOST + 1):
            scene.client.write(BASE + number * PAGE, b"x")
        scene.fails = FAILURES["slow"]
        with pytest.raises(Timeout):
            board.pager.detach(region)
        assert scene.calls == 1


def test_MACH14_threads_go_on_writing_where_cleaning_fails(scene: Scene) -> None:
    client = scene.client
    region = scene.attach()
    client.write(BASE, b"before")
    scene.remote.served.is_full = True
    scene.remote.served.lock(0, PAGE, clean=True)
    scene.wake()
    client.write(BASE, b"after!")
    assert client.read(BASE, 6) == b"after!"
    scene.remote.served.is_full = False
    scene.board.pager.detach(region)
    assert scene.remote.file.getvalue()[:6] == b"after!"


def test_MACH14_an_object_fills_no_more_of_the_pagers_memory_than_its_part(scene: Scene) -> None:
    region = scene.attach()
    for number in range(MOST + 1):
        scene.client.write(BASE + number * PAGE, b"mine")
    free = scene.board.memory.statistics().free_bytes
    scene.fails = FAILURES["unwilling"]
    with pytest.raises(DataError):
        scene.board.pager.give_back(region)
    assert scene.board.memory.statistics().free_bytes == free - MOST * PAGE
    assert [scene.client.read(BASE + number * PAGE, 4) for number in range(MOST)] == [b"mine"] * MOST
    with pytest.raises(DataError):
        scene.board.pager.detach(region)
    assert scene.board.memory.statistics().free_bytes == free


def test_MACH14_a_pager_that_takes_nothing_over_loses_it() -> None:
    with paging_board() as board, as_task(board.task):
        scene = Scene(board)
        region = scene.attach()
        scene.client.write(BASE, b"lost")
        scene.fails = FAILURES["slow"]
        with pytest.raises(Timeout):
            board.pager.give_back(region)
        scene.fails = None
        assert len(region.residence.pages) == 0


def test_MACH14_frames_that_the_dead_task_has_taken_along_are_a_memory_error(scene: Scene) -> None:
    board, client = scene.board, scene.client
    region = scene.attach()
    client.write(BASE, b"theirs")
    board.cnode.delete(region.residence.pages[0].frame.cptr)  # as when its memory is revoked
    scene.fails = FAILURES["dead"]
    scene.source.data_request = _dead  # type: ignore[method-assign]
    with pytest.raises(ServerDied):
        board.pager.give_back(region)
    board.listen()
    assert not client.touch(BASE)
    assert board.heard() is not None


def _dead(offset: int, length: int, access: int) -> Answer:
    raise ServerDied("killed")


def test_MACH14_what_the_object_had_left_to_the_pager_outlives_it(scene: Scene) -> None:
    """Zeroes that the pager filled in are the pager's: no room is taken for them beside."""
    board, client = scene.board, scene.client
    region = scene.attach()
    scene.source.data_request = lambda offset, length, access: unavailable()  # type: ignore[method-assign]
    for number in range(MOST + 1):
        client.write(BASE + number * PAGE, b"kept")
    free = board.memory.statistics().free_bytes
    scene.fails, scene.source.data_request = FAILURES["dead"], _dead  # type: ignore[method-assign]
    board.pager.give_back(region)
    assert board.memory.statistics().free_bytes == free
    assert [client.read(BASE + number * PAGE, 4) for number in range(MOST + 1)] == [b"kept"] * (MOST + 1)


def test_MACH14_more_rights_to_what_was_taken_over_are_the_objects_to_give(scene: Scene) -> None:
    board, client = scene.board, scene.client
    region = scene.attach()
    client.write(BASE, b"held")
    scene.remote.served.is_full = True
    scene.remote.served.lock(0, PAGE, clean=True, prohibited=int(Rights.WRITE))
    scene.wake()
    assert client.read(BASE, 4) == b"held"
    board.listen()
    assert not client.touch(BASE, write=True)
    assert board.heard() is not None
    scene.remote.served.is_full = False
    other = board.client("other", beside=client)
    other.write(BASE, b"more")
    assert scene.remote.file.getvalue()[:4] == b"held"
    board.pager.detach(region)
    assert scene.remote.file.getvalue()[:4] == b"more"


def test_MACH14_another_tasks_object_is_copied_at_once(scene: Scene) -> None:
    board, client = scene.board, scene.client
    region = scene.attach()
    other = board.client("other")
    client.write(BASE, b"before")
    board.pager.fork(region, other.space)
    client.write(BASE, b"after!")
    other.write(BASE + PAGE, b"theirs")
    assert other.read(BASE, 6) == b"before"
    assert other.read(BASE + 2 * PAGE, 4) == TEXT[2 * PAGE : 2 * PAGE + 4]
    board.pager.detach(region)
    assert scene.remote.file.getvalue()[:6] == b"after!"
    assert scene.remote.file.getvalue()[PAGE : PAGE + 6] == TEXT[PAGE : PAGE + 6]


def test_a_pager_whose_frames_cannot_be_read_takes_nothing_over() -> None:
    with paging_board() as board, pytest.raises(RuntimeError, match="contents="):
        Pager(Frames(board.cnode, board.slots, board.memory), takes_over=1)
