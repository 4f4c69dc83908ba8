"""Forks of forks on the pure kernel: whichever side writes, or ends, each sees what it forked and what it wrote."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator

import pytest

from libsel4py import Frame
from libsel4py.lowlevel.cspace import OutOfSlots
from libsel4py.pagers.anonymous import Anonymous
from libsel4py.pagers.blob import Blob
from libsel4py.pagers.regions import Region
from libsel4py.pagers.shadow import Shadow
from tests.unit.sdk.paging import BASE, PAGE, Client, PagingBoard, paging_board

PAGES = 3
SIZE = PAGES * PAGE


@pytest.fixture
def board() -> Iterator[PagingBoard]:
    with paging_board() as made:
        yield made


def room(board: PagingBoard) -> tuple[int, int]:
    return board.memory.statistics().free_bytes, board.slots.free_count


def source_of(region: Region) -> Shadow:
    source = region.residence.source
    assert isinstance(source, Shadow)
    return source


def test_a_chain_may_be_as_long_as_one_likes(board: PagingBoard) -> None:
    """Longer than Python calls itself. All copies live, and end in any order."""
    board.machine.check = False
    before = room(board)
    client = board.client()
    region = board.pager.attach(client.space, BASE, SIZE, Anonymous(board.frames, SIZE))
    client.write(BASE, b"first")
    copies = [board.pager.fork(region, client.space, BASE + number * SIZE) for number in range(1, 1200)]
    assert source_of(region).depth == 1199
    client.write(BASE + 8, b"last")
    assert client.read(BASE, 12) == b"first\0\0\0last"
    random.Random(3).shuffle(copies)
    for copy in copies:
        assert client.read(copy.address, 12) == b"first" + bytes(7)
        board.pager.detach(copy)
    assert source_of(region).depth == 1
    assert client.read(BASE, 12) == b"first\0\0\0last"
    board.pager.remove_space(client.space)
    assert room(board) == before


def test_who_forks_again_and_again_has_the_memory_of_what_lives(board: PagingBoard) -> None:
    client = board.client()
    region = board.pager.attach(client.space, BASE, SIZE, Anonymous(board.frames, SIZE))
    client.write(BASE, b"0")
    seen = set()
    for number in range(20):
        copy = board.pager.fork(region, client.space, BASE + SIZE)
        client.write(BASE, b"%d" % number)
        board.pager.detach(copy)
        seen.add(room(board))
    assert len(seen) == 1
    assert source_of(region).depth == 1
    assert client.read(BASE, 2) == b"19"


class Forks:
    """Regions of one space, and the bytes that each should show."""

    def __init__(self, board: PagingBoard, chooser: random.Random) -> None:
        self._board, self._chooser = board, chooser
        self.client: Client = board.client()
        first = board.pager.attach(self.client.space, BASE, SIZE, Anonymous(board.frames, SIZE))
        self.shown = {first: bytearray(PAGES)}
        self._places = list(range(1, 1000))

    def fork(self, region: Region) -> None:
        address = BASE + self._places.pop() * SIZE
        made = self._board.pager.fork(region, self.client.space, address)
        self.shown[made] = self.shown[region].copy()

    def write(self, region: Region) -> None:
        page, value = self._chooser.randrange(PAGES), self._chooser.randrange(256)
        self.client.write(region.address + page * PAGE, bytes((value,)))
        self.shown[region][page] = value

    def end(self, region: Region) -> None:
        if len(self.shown) > 1:
            self._board.pager.detach(region)
            del self.shown[region]

    def check(self, region: Region) -> None:
        found = [self.client.read(region.address + page * PAGE, 1) for page in range(PAGES)]
        assert b"".join(found) == self.shown[region]


@pytest.mark.parametrize("seed", range(6))
def test_random_forks_writes_and_ends(board: PagingBoard, seed: int) -> None:
    before = room(board)
    chooser = random.Random(seed)
    forks = Forks(board, chooser)
    for _ in range(250):
        act = chooser.choice((forks.fork, forks.write, forks.write, forks.end, forks.check))
        act(chooser.choice(list(forks.shown)))
    for region in forks.shown:
        forks.check(region)
    board.pager.remove_space(forks.client.space)
    assert room(board) == before


class Blind:
    """Contents that cannot be looked at, for want of slots."""

    def read(self, frame: Frame, length: int) -> bytes:
        raise OutOfSlots

    def write(self, frame: Frame, data: bytes, at: int = 0, /) -> None:
        raise OutOfSlots

    def forget(self, frame: Frame) -> None:
        """Nothing was seen of it."""


def test_a_page_that_could_not_be_copied_is_not_zeroes_the_next_time(
    board: PagingBoard, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = board.client()
    region = board.pager.attach(client.space, BASE, SIZE, Anonymous(board.frames, SIZE))
    client.write(BASE, b"first")
    board.pager.fork(region, client.space, BASE + SIZE)
    before = room(board)
    board.listen()
    with monkeypatch.context() as blindly:
        blindly.setattr(board.frames, "_contents", Blind())
        assert not client.touch(BASE, write=True)
    assert room(board) == before
    other = board.client("other", beside=client)
    other.write(BASE + 8, b"next")
    assert other.read(BASE, 12) == b"first\0\0\0next"


def test_what_was_written_behind_a_files_end_is_in_both_copies(board: PagingBoard) -> None:
    """The pager made the page, and the file has had it since the fork."""
    file, client = io.BytesIO(b"short"), board.client()
    region = board.pager.attach(client.space, BASE, SIZE, Blob(board.frames, file, SIZE))
    client.write(BASE + 2 * PAGE, b"far")
    board.pager.fork(region, client.space, BASE + SIZE)
    assert file.getvalue()[2 * PAGE : 2 * PAGE + 4] == b"far\0"
    assert client.read(BASE + SIZE + 2 * PAGE, 3) == b"far"
    client.write(BASE + 2 * PAGE + 3, b"ther")
    assert client.read(BASE + 2 * PAGE, 7) == b"farther"
    assert client.read(BASE + SIZE + 2 * PAGE, 7) == b"far\0\0\0\0"
