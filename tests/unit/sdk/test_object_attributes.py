"""What a memory object says of how it may be treated, and what a pager makes of that."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest

from libsel4py.abi import Rights
from libsel4py.capabilities import Frame
from libsel4py.interfaces.memory_object import Answer, Attributes, CopyStrategy, DataError, later
from libsel4py.pagers.anonymous import Anonymous
from libsel4py.pagers.blob import Blob
from tests.unit.sdk.paging import BASE, PAGE, Client, PagingBoard, paging_board

READ, WRITE = int(Rights.READ), int(Rights.READ | Rights.WRITE)
TEXT = b"".join(number.to_bytes(2, "little") for number in range(2 * PAGE))  # 4 pages


class Counting(Blob):
    """Says what it was asked."""

    def __init__(self, board: PagingBoard, file: io.BytesIO) -> None:
        super().__init__(board.frames, file)
        self.requested: list[int] = []
        self.returned: list[int] = []

    def data_request(self, offset: int, length: int, access: int) -> Answer:
        self.requested.append(offset // PAGE)
        return super().data_request(offset, length, access)

    def data_return(self, offset: int, length: int, frame: Frame, dirty: bool, keep: bool) -> None:
        self.returned.append(offset // PAGE)
        super().data_return(offset, length, frame, dirty, keep)


class Shown:
    """A file that a client sees."""

    def __init__(self, board: PagingBoard) -> None:
        self.board, self.file = board, io.BytesIO(TEXT)
        self.blob = Counting(board, self.file)
        self.client: Client = board.client()
        self.region = self.show()

    def show(self) -> object:
        self.region = self.board.pager.attach(self.client.space, BASE, len(TEXT), self.blob)
        return self.region

    def hide(self) -> None:
        self.board.pager.detach(self.region)  # type: ignore[arg-type]

    def change(self, *, may_cache: bool = False, copy_strategy: CopyStrategy = CopyStrategy.DELAY) -> None:
        self.blob.change_attributes(may_cache=may_cache, copy_strategy=copy_strategy)
        self.board.step()  # its signal


@pytest.fixture
def shown() -> Iterator[Shown]:
    with paging_board(caches=1) as board:
        yield Shown(board)


def test_MACH14_pages_of_an_object_that_may_be_cached_stay_while_nobody_looks(shown: Shown) -> None:
    client, blob = shown.client, shown.blob
    shown.change(may_cache=True)
    assert blob.in_force == Attributes(may_cache=True)
    client.read(BASE + PAGE, 1)
    client.write(BASE, b"written")
    shown.hide()
    assert client.rights(BASE) == client.rights(BASE + PAGE) == 0
    assert shown.file.getvalue()[:7] == b"written"
    assert (blob.requested, blob.returned) == ([1, 0], [0])
    shown.show()
    assert client.read(BASE, 7) == b"written"
    assert client.read(BASE + PAGE, 2) == TEXT[PAGE : PAGE + 2]
    assert blob.requested == [1, 0]
    client.write(BASE, b"again!!")
    shown.change()
    shown.hide()
    assert shown.file.getvalue()[:7] == b"again!!"
    assert blob.in_force is None
    with pytest.raises(DataError, match="terminated"):
        shown.show()


def test_MACH14_without_may_cache_and_at_a_pager_that_caches_nothing_all_goes_back() -> None:
    for caches, may_cache in ((1, False), (0, True)):
        with paging_board(caches=caches) as board:
            free = board.memory.statistics().free_bytes, board.slots.free_count
            shown = Shown(board)
            shown.change(may_cache=may_cache)
            shown.client.write(BASE, b"written")
            shown.hide()
            assert shown.blob.returned == [0]
            assert shown.blob.in_force is None
            assert (board.memory.statistics().free_bytes, board.slots.free_count) == free


def test_MACH14_an_object_that_may_be_cached_no_more_is_used_no_more_at_once(shown: Shown) -> None:
    shown.change(may_cache=True)
    shown.client.read(BASE, 1)
    free = shown.board.memory.statistics().free_bytes
    shown.hide()
    assert shown.board.memory.statistics().free_bytes == free
    shown.change()
    assert shown.board.memory.statistics().free_bytes > free
    assert shown.blob.in_force is None


def test_MACH14_the_object_that_was_left_first_makes_room(shown: Shown) -> None:
    others = [Shown(shown.board) for _ in range(2)]
    for each in (shown, *others):
        each.change(may_cache=True)
        each.client.read(BASE, 1)
        each.hide()
    assert [each.blob.in_force is not None for each in (shown, *others)] == [False, False, True]


def test_MACH14_what_is_cached_makes_room_for_a_page_that_somebody_touches() -> None:
    with paging_board(pool_bits=15, caches=4) as board:
        shown = Shown(board)
        shown.change(may_cache=True)
        for number in range(4):
            shown.client.read(BASE + number * PAGE, 1)
        shown.hide()
        other = board.client("other")
        board.pager.attach(other.space, BASE, 8 * PAGE, Anonymous(board.frames, 8 * PAGE))
        for number in range(5):
            other.write(BASE + number * PAGE, b"x")
        assert shown.blob.in_force is None


def test_MACH14_what_may_change_by_itself_is_copied_at_once(shown: Shown) -> None:
    client, other = shown.client, shown.board.client("other")
    shown.change(copy_strategy=CopyStrategy.NONE)
    client.write(BASE, b"before")
    shown.board.pager.fork(shown.region, other.space)  # type: ignore[arg-type]
    shown.file.seek(PAGE)
    shown.file.write(b"behind")
    client.write(BASE, b"after!")
    assert other.read(BASE, 6) == b"before"
    assert other.read(BASE + PAGE, 6) == TEXT[PAGE : PAGE + 6]
    other.write(BASE, b"theirs")
    assert client.read(BASE, 6) == b"after!"
    shown.hide()
    assert shown.file.getvalue()[:6] == b"after!"  # it shows the file as ever: DELAY would have made a copy of it
    free = shown.board.memory.statistics().free_bytes
    shown.board.pager.remove_space(other.space)
    assert shown.board.memory.statistics().free_bytes >= free + 4 * PAGE


def test_MACH14_a_copy_that_cannot_be_made_leaves_nothing(shown: Shown) -> None:
    class Late(Counting):
        def data_request(self, offset: int, length: int, access: int) -> Answer:
            return later() if offset == 2 * PAGE else super().data_request(offset, length, access)

    board, other = shown.board, shown.board.client("other")
    late = Late(board, io.BytesIO(TEXT))
    late.change_attributes(may_cache=False, copy_strategy=CopyStrategy.NONE)
    region = board.pager.attach(other.space, BASE, len(TEXT), late)
    for number in range(2):
        other.read(BASE + number * PAGE, 1)
    free = board.memory.statistics().free_bytes, board.slots.free_count
    with pytest.raises(DataError, match="still to come"):
        board.pager.fork(region, shown.client.space, BASE + 8 * PAGE)
    assert len(shown.client.space.regions) == 1
    assert (board.memory.statistics().free_bytes, board.slots.free_count) == (free[0], free[1] + 2)  # nobody maps now
    assert other.read(BASE, 2) == TEXT[:2]


def test_MACH14_nobody_wants_what_is_temporary_when_it_ends(shown: Shown) -> None:
    shown.change(copy_strategy=CopyStrategy.TEMPORARY)
    shown.client.write(BASE, b"scratch")
    shown.hide()
    assert shown.file.getvalue() == TEXT
    assert shown.blob.returned == []
