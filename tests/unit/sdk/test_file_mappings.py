"""Files as memory, on the pure kernel: whose page is whose, what is written when, what no task can do to others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import nullcontext

import pytest

from kerneld.failures import Fault
from libsel4py import Endpoint, Notification
from libsel4py.abi import ExceptionNumber, FaultLabel, Rights
from libsel4py.errors import InvalidMessage
from libsel4py.interfaces.file import Adopted, DeviceFailed, FileError, NoSpace, NotPermitted, StaleHandle, TooManyOpen
from libsel4py.interfaces.mapped_files import MOST_MAPPINGS, MapAs
from libsel4py.interfaces.memory_object import DataError
from libsel4py.pagers.file_mappings import FileMappings
from libsel4py.pagers.file_store import FileStore, Held
from libsel4py.pagers.paged_file import PagedFile, Share
from libsel4py.pagers.regions import Space
from libsel4py.testing import system
from libsel4py.testing.memory_object import MEMORY_OBJECT_CHECKS, Subject, fake_frames
from tests.unit.sdk.paging import BASE, PAGE, Client, PagingBoard, paging_board

READ = int(Rights.READ)
SHARE = 16
TEXT = bytes(range(256)) * 40 + b"the end"  # 2.5 pages


class OneFile(FileStore):
    """A file system of one file.

    Attributes:
        data: what it holds. writable: how it is open. open: how often. synced: what was on the medium last. fails:
        raised by each write, behind the first ``reaches`` bytes of it. fails_sync: by each sync. writes: first byte and
        count of each that did not. tried: first byte of each. revoked: numbers by which it is open no more.
    """

    def __init__(self, data: bytes = TEXT) -> None:
        self.data, self.writable = bytearray(data), True
        self.life, self.open, self.synced = 1, 0, b""
        self.fails: FileError | None = None
        self.reaches = 0
        self.fails_sync: FileError | None = None
        self.writes: list[tuple[int, int]] = []
        self.tried: list[int] = []
        self.is_dead = False
        self.revoked: set[int] = set()

    def adopt(self, file: Endpoint) -> Adopted:
        self.open += 1
        return Adopted(self.open, len(self.data), 7, self.writable)

    def _ensure(self, held: Held) -> None:
        if self.is_dead or held.number in self.revoked:
            raise StaleHandle("gone")

    def read(self, held: Held, offset: int, length: int) -> bytes:
        self._ensure(held)
        return bytes(self.data[offset : offset + length])

    def overwrite(self, held: Held, offset: int, data: bytes) -> int:
        self._ensure(held)
        assert held.writable
        self.tried.append(offset)
        if self.fails is not None:
            self.data[offset : offset + self.reaches] = data[: self.reaches]
            raise self.fails
        self.writes.append((offset, len(data)))
        data = data[: max(0, len(self.data) - offset)]
        self.data[offset : offset + len(data)] = data
        return len(data)

    def sync(self, held: Held) -> None:
        self._ensure(held)
        if self.fails_sync is not None:
            raise self.fails_sync
        self.synced = bytes(self.data)

    def size(self, held: Held) -> int:
        self._ensure(held)
        return len(self.data)

    def answers(self) -> bool:
        return not self.is_dead

    def close(self, held: Held) -> None:
        self.open -= 1


class Bounded(PagedFile):
    """It says how long it is, as the suite wants to know."""

    def init(self, wake: Notification | None) -> int:
        super().init(wake)
        return len(TEXT)


@pytest.mark.parametrize("check", MEMORY_OBJECT_CHECKS)
def test_a_paged_file_is_a_memory_object(check: str) -> None:
    with system() as made:
        frames = fake_frames(made)

        def make() -> PagedFile:
            file = Bounded(frames, OneFile())
            file.holders.append(Held(1, 1, 7, writable=True))
            file.serve(Share(SHARE), file.holders[0])
            return file

        MEMORY_OBJECT_CHECKS[check](Subject(make, frames, TEXT))


class Board:
    """A pager with one file of ``pages``, and two clients."""

    def __init__(self, board: PagingBoard, store: OneFile) -> None:
        self.board, self.store = board, store
        self.mappings = FileMappings(board.pager, board.frames, [store], SHARE, ahead=0)
        self.first, self.second = board.client("first"), board.client("second")
        self.endpoint = board.endpoint

    def map(self, client: Client, how: MapAs = MapAs.WRITE, offset: int = 0, length: int | None = None) -> int:
        length = len(self.store.data) - offset if length is None else length
        return self.mappings.map(client.space, self.endpoint, BASE, offset, length, how)

    def read(self, client: Client, page: int, length: int = 6) -> bytes | None:
        """None: it is refused, and so is the thread stopped."""
        self.mappings.before(client.space, BASE + page * PAGE)
        address = BASE + page * PAGE
        return client.read(address, length) if client.touch(address) else None

    def write(self, client: Client, page: int, data: bytes) -> None:
        self.mappings.before(client.space, BASE + page * PAGE)
        client.write(BASE + page * PAGE, data)

    def kept(self, client: Client) -> int:
        return len(self.mappings._shares[client.space].pages)


@pytest.fixture
def board() -> Iterator[Board]:
    with paging_board() as made:
        yield Board(made, OneFile(bytes(3 * SHARE * PAGE)))


def test_two_see_the_same_page_and_one_may_read_alone(board: Board) -> None:
    board.map(board.first)
    number = board.map(board.second, MapAs.READ)
    board.write(board.first, 1, b"stored")
    assert board.read(board.second, 1) == b"stored"
    assert board.first.physical(BASE + PAGE) == board.second.physical(BASE + PAGE)
    assert board.second.rights(BASE + PAGE) == READ
    board.mappings.before(board.second.space, BASE + PAGE)
    board.board.listen()
    assert not board.second.touch(BASE + PAGE, write=True)
    board.mappings.flush(board.second.space, number, PAGE, 1)
    assert board.store.data[PAGE : PAGE + 6] == b"stored"
    assert board.store.synced == board.store.data


def test_a_task_has_its_share_and_what_goes_is_written(board: Board) -> None:
    number = board.map(board.first)
    for page in range(3 * SHARE):
        board.write(board.first, page, b"%6d" % page)
        assert board.kept(board.first) <= SHARE
    assert [board.store.data[page * PAGE : page * PAGE + 6] for page in range(2 * SHARE)] == [
        b"%6d" % page for page in range(2 * SHARE)
    ]
    assert all(board.read(board.first, page) == b"%6d" % page for page in range(3 * SHARE))
    board.mappings.unmap(board.first.space, number)
    assert board.store.data[-PAGE:][:6] == b"%6d" % (3 * SHARE - 1)
    assert (board.store.open, board.kept(board.first)) == (0, 0)


@pytest.mark.parametrize("ahead", [0, 3])
def test_pages_that_cannot_be_written_stay_and_who_wants_more_is_refused(board: Board, ahead: int) -> None:
    board.mappings._ahead = ahead
    number = board.map(board.first)
    board.map(board.second, MapAs.READ)
    board.store.fails = NoSpace("full")
    for page in range(SHARE):
        board.write(board.first, page, b"mine")
    with pytest.raises(NoSpace):
        board.mappings.flush(board.first.space, number, 0, PAGE)
    assert board.read(board.second, SHARE) == bytes(6)
    tries = len(board.store.tried)
    board.board.listen()
    assert board.read(board.first, 2 * SHARE) is None
    # By each of two handles: the first pages together, and then each page for itself, and not with those behind it.
    assert len(board.store.tried) - tries <= 2 * (1 + ahead + SHARE)
    assert board.kept(board.first) == SHARE
    board.store.fails = None
    board.mappings.flush(board.first.space, number, 0, SHARE * PAGE)
    assert [board.store.data[page * PAGE : page * PAGE + 4] for page in range(SHARE)] == [b"mine"] * SHARE


def test_pages_that_follow_each_other_are_written_at_once(board: Board) -> None:
    number = board.map(board.first)
    for page in (9, 0, 2, 3, 1):
        board.write(board.first, page, b"%6d" % page)
    assert board.read(board.first, 4) == bytes(6)
    board.mappings.flush(board.first.space, number, 0, SHARE * PAGE)
    assert board.store.writes == [(0, 4 * PAGE), (9 * PAGE, PAGE)]
    assert all(board.store.data[page * PAGE :][:6] == b"%6d" % page for page in (0, 1, 2, 3, 9))
    board.store.writes.clear()
    board.mappings.flush(board.first.space, number, 0, SHARE * PAGE)
    assert board.store.writes == []
    board.write(board.first, 2, b"again")
    board.mappings.flush(board.first.space, number, 0, SHARE * PAGE)
    assert board.store.writes == [(2 * PAGE, PAGE)]
    assert board.store.data[2 * PAGE :][:5] == b"again"


def test_who_stores_goes_on_to_be_able_to_when_a_page_is_written_and_what_changes_is_written_again(
    board: Board,
) -> None:
    number = board.map(board.first)
    board.write(board.first, 0, b"first")
    board.mappings.flush(board.first.space, number, 0, PAGE)
    faults = board.board.pager.counts.faults
    board.first.write(BASE, b"again")
    assert board.board.pager.counts.faults == faults
    board.mappings.flush(board.first.space, number, 0, PAGE)
    board.mappings.flush(board.first.space, number, 0, PAGE)
    assert board.store.data[:5] == board.store.synced[:5] == b"again"
    assert len(board.store.writes) == 2


def test_what_a_failed_write_left_in_the_file_is_written_over(board: Board) -> None:
    """Also where the page is again as it was written last."""
    number = board.map(board.first)
    for stored in (b"first", b"other", b"first"):
        board.write(board.first, 0, stored)
        board.store.fails, board.store.reaches = (NoSpace("full"), 3) if stored == b"other" else (None, 0)
        with nullcontext() if board.store.fails is None else pytest.raises(NoSpace):
            board.mappings.flush(board.first.space, number, 0, PAGE)
    assert board.store.data[:5] == board.store.synced[:5] == b"first"


@pytest.mark.parametrize(
    "ask",
    [
        lambda mappings, space, number: mappings.flush(space, number, 0, PAGE),
        lambda mappings, space, number: mappings.refresh(space, number),
    ],
)
def test_what_could_not_be_synced_is_written_again(
    board: Board, ask: Callable[[FileMappings, Space, int], None]
) -> None:
    number = board.map(board.first)
    board.write(board.first, 0, b"stored")
    board.store.fails_sync = DeviceFailed("medium")
    with pytest.raises(DeviceFailed):
        ask(board.mappings, board.first.space, number)
    board.store.data[:6] = bytes(6)  # the file system has let go what it could not put there
    board.store.fails_sync = None
    board.mappings.flush(board.first.space, number, 0, PAGE)
    assert board.store.data[:6] == board.store.synced[:6] == b"stored"
    board.store.writes.clear()
    board.mappings.flush(board.first.space, number, 0, PAGE)
    assert board.store.writes == []


def test_nobody_can_store_to_a_page_that_is_given_up(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was stored while it is written would be lost."""
    number = board.map(board.first)
    for page in range(3):
        board.write(board.first, page, b"stored")
    overwrite, seen = board.store.overwrite, list[object]()

    def look(held: Held, offset: int, data: bytes) -> int:
        seen.extend(BASE + page * PAGE in board.first.space.mapped for page in range(3))
        return overwrite(held, offset, data)

    monkeypatch.setattr(board.store, "overwrite", look)
    board.mappings.unmap(board.first.space, number)
    assert seen == [False] * 3


def test_a_share_that_is_full_is_written_by_as_many_pages_as_are_wanted(board: Board) -> None:
    board.mappings._ahead = 3
    board.map(board.first)
    for page in range(SHARE + 1):
        board.write(board.first, page, b"stored")
    assert board.store.writes == [(0, 4 * PAGE)]


def test_of_pages_that_follow_each_other_those_behind_a_shorter_files_end_alone_are_lost(board: Board) -> None:
    number = board.map(board.first)
    for page in range(4):
        board.write(board.first, page, b"stored")
    del board.store.data[PAGE + 10 :]
    with pytest.raises(NotPermitted, match="shorter"):
        board.mappings.flush(board.first.space, number, 0, 4 * PAGE)
    assert board.store.data[:6] == board.store.data[PAGE:][:6] == b"stored"
    assert board.read(board.first, 1) == b"stored"
    board.board.listen()
    assert board.read(board.first, 2) is None


def test_who_goes_leaves_his_pages_to_others_as_far_as_they_have_room(board: Board) -> None:
    numbers = [board.map(board.first), board.map(board.second)]
    for page in range(10):
        board.write(board.first, page, b"first")
        board.write(board.second, 20 + page, b"second")
    where = board.first.physical(BASE)
    board.mappings.unmap(board.first.space, numbers[0])
    assert (board.kept(board.first), board.kept(board.second)) == (0, SHARE)
    assert board.read(board.second, 0) == b"first\0"
    assert board.second.physical(BASE) == where
    written = [page for page in range(10) if board.store.data[page * PAGE : page * PAGE + 5] == b"first"]
    assert written == [6, 7, 8, 9]
    board.mappings.unmap(board.second.space, numbers[1])
    assert all(board.store.data[page * PAGE : page * PAGE + 5] == b"first" for page in range(10))


def test_what_the_last_writer_stored_is_written_when_it_goes(board: Board) -> None:
    number = board.map(board.first)
    board.store.writable = False
    board.map(board.second, MapAs.READ)
    board.write(board.first, 0, b"stored")
    board.mappings.unmap(board.first.space, number)
    assert board.store.data[:6] == b"stored"
    assert board.read(board.second, 0) == b"stored"


def test_a_page_that_the_pager_had_to_forget_is_written_all_the_same(board: Board) -> None:
    """A mapping that the kernel refuses takes all mappings of its page along, also of those that stored to it."""
    number = board.map(board.first)
    board.write(board.first, 0, b"stored")
    (region,) = board.first.space.regions
    region.residence.forget(region.residence.pages[0])
    board.mappings.flush(board.first.space, number, 0, PAGE)
    assert board.store.data[:6] == board.store.synced[:6] == b"stored"


def test_a_page_that_the_pager_had_to_forget_is_given_up_all_the_same(board: Board) -> None:
    board.map(board.first)
    for page in range(SHARE):
        board.write(board.first, page, b"stored")
    (region,) = board.first.space.regions
    for page in range(SHARE):
        region.residence.forget(region.residence.pages[page * PAGE])
    assert board.read(board.first, SHARE) == bytes(6)
    assert board.kept(board.first) == SHARE
    assert board.store.data[:6] == b"stored"


def test_a_copy_is_its_makers_alone(board: Board) -> None:
    number = board.map(board.first, MapAs.COPY)
    board.map(board.second)
    board.store.writable = False
    board.write(board.first, 0, b"copied")
    board.write(board.second, 0, b"stored")
    board.mappings.flush(board.first.space, number, 0, PAGE)
    board.mappings.refresh(board.first.space, number)
    assert (board.read(board.first, 0), board.read(board.second, 0)) == (b"copied", b"stored")
    board.mappings.unmap(board.first.space, number)
    assert board.store.data[:6] == bytes(6)


def test_behind_a_shorter_files_end_what_was_stored_is_told_to_be_lost_once(board: Board) -> None:
    number = board.map(board.first)
    board.write(board.first, 0, b"kept")
    board.write(board.first, 2, b"lost")
    del board.store.data[PAGE:]
    with pytest.raises(NotPermitted, match="shorter"):
        board.mappings.flush(board.first.space, number, 0, 3 * PAGE)
    assert board.store.data[:4] == b"kept"
    assert len(board.store.data) == PAGE
    board.mappings.flush(board.first.space, number, 0, 3 * PAGE)
    board.board.listen()
    assert board.read(board.first, 2) is None


def test_a_task_that_ends_leaves_nothing(board: Board) -> None:
    free = board.board.memory.statistics().free_bytes
    board.map(board.first)
    board.write(board.first, 0, b"stored")
    board.first.raise_fault(Fault(FaultLabel.USER_EXCEPTION, (0, 0, 0, ExceptionNumber.DEATH, 0)))
    board.mappings.leave(board.first.space)
    assert board.store.data[:6] == b"stored"
    assert (board.store.open, board.first.space.regions) == (0, ())
    assert board.board.memory.statistics().free_bytes == free


def test_a_dead_file_system_loses_what_was_not_written_and_says_so(board: Board) -> None:
    number = board.map(board.first)
    board.write(board.first, 0, b"stored")
    board.store.is_dead = True
    with pytest.raises(StaleHandle):
        board.mappings.refresh(board.first.space, number)
    assert board.read(board.first, 0) == b"stored"
    board.board.listen()
    assert board.read(board.first, 1) is None
    with pytest.raises(StaleHandle):
        board.mappings.unmap(board.first.space, number)
    assert board.first.space.regions == ()


@pytest.mark.parametrize(
    ("address", "offset", "length"),
    [
        (BASE + 1, 0, PAGE),
        (BASE, 1, PAGE),
        (BASE, 0, 0),
        (BASE, 0, 3 * SHARE * PAGE + 1),
        (BASE, 3 * SHARE * PAGE, 1),
        (BASE, (1 << 64) - PAGE, PAGE),
        (BASE, 0, (1 << 64) - 1),
        (0, 0, PAGE),
        ((1 << 64) - PAGE, 0, PAGE),
    ],
)
def test_wild_numbers_are_refused_and_leave_nothing(board: Board, address: int, offset: int, length: int) -> None:
    free = board.board.memory.statistics().free_bytes
    with pytest.raises(InvalidMessage):
        board.mappings.map(board.first.space, board.endpoint, address, offset, length, MapAs.READ)
    assert (board.store.open, board.first.space.regions) == (0, ())
    assert board.board.memory.statistics().free_bytes == free
    board.map(board.first)


def test_rights_bounds_and_numbers_of_others(board: Board) -> None:
    mine = board.map(board.first, length=PAGE)
    with pytest.raises(InvalidMessage, match="already"):
        board.mappings.map(board.first.space, board.endpoint, BASE + PAGE, 0, PAGE, MapAs.READ)
    with pytest.raises(InvalidMessage, match="overlaps"):
        board.mappings.map(board.first.space, board.endpoint, BASE, PAGE, PAGE, MapAs.READ)
    with pytest.raises(InvalidMessage, match="MapAs"):
        board.mappings.map(board.first.space, board.endpoint, BASE + PAGE, PAGE, PAGE, 3)
    bare = Endpoint(board.board.slots.allocate())
    board.board.cnode.copy(bare.cptr, board.board.cnode, board.endpoint.cptr, Rights.NONE)
    for nothing in (bare, Endpoint(board.board.notification.cptr), Endpoint(0)):
        with pytest.raises(NotPermitted):
            board.mappings.map(board.first.space, nothing, BASE + PAGE, PAGE, PAGE, MapAs.READ)
    board.store.writable = False
    with pytest.raises(NotPermitted, match="writing"):
        board.map(board.second)
    for act in (board.mappings.unmap, board.mappings.refresh):
        with pytest.raises(StaleHandle):
            act(board.second.space, mine)
    with pytest.raises(StaleHandle):
        board.mappings.flush(board.second.space, mine, 0, 1)
    for page in range(1, MOST_MAPPINGS):
        board.mappings.map(board.first.space, board.endpoint, BASE + page * PAGE, page * PAGE, PAGE, MapAs.READ)
    with pytest.raises(TooManyOpen):
        board.mappings.map(board.first.space, board.endpoint, BASE + 40 * PAGE, 40 * PAGE, PAGE, MapAs.READ)
    assert board.store.open == MOST_MAPPINGS


def test_who_has_the_file_open_no_more_gets_no_pages_that_others_have(board: Board) -> None:
    mine = board.map(board.first)
    board.map(board.second)
    for page in range(3):
        board.write(board.first, page, b"stored")
    assert board.read(board.second, 0) == b"stored"
    board.store.revoked = {board.mappings._mappings[mine + 1].held.number}
    board.board.listen()
    assert board.read(board.second, 1) is None
    assert board.second.space.regions == ()
    assert board.read(board.first, 1) == b"stored"
    board.mappings.flush(board.first.space, mine, 0, PAGE)
    assert board.store.data[:6] == b"stored"
    with pytest.raises(StaleHandle):
        board.mappings.unmap(board.second.space, mine + 1)


def test_who_has_the_file_open_no_more_reads_none_by_the_handles_of_others(board: Board) -> None:
    board.map(board.first)
    number = board.map(board.second)
    board.store.revoked = {board.mappings._mappings[number].held.number}
    board.board.listen()
    assert board.read(board.second, 1) is None
    assert board.read(board.first, 1) == bytes(6)


def test_what_nobody_pays_for_is_not_read_in(board: Board) -> None:
    file = PagedFile(board.board.frames, board.store)
    file.init(None)
    with pytest.raises(DataError, match="as many pages"):
        file.data_request(0, PAGE, READ)
