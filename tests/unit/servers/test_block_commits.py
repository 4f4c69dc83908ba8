"""Commits by one request to the device: what goes together, what an error leaves, and devices gone wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from hw.devices.block import COMMIT, Kind
from libsel4py.dataspace import DataSpace
from libsel4py.interfaces.block import Block, DiskError, Request
from servers.block import disk as driver
from servers.block.commits import MOST_BYTES, Commit, together
from servers.block.disk import COMMITS, MOST_TRIES
from servers.block.requests import Piece
from tests.unit.servers.disk_board import Board, board

SECONDS = 10.0
FLUSH = (Kind.FLUSH, 0, 0)


@pytest.fixture
def machine() -> Iterator[Board]:
    with board() as made:
        yield made


@pytest.fixture
def disk(machine: Board) -> Iterator[Block]:
    with machine.driver() as client:
        yield client


@pytest.fixture
def space(machine: Board) -> Iterator[DataSpace]:
    with DataSpace.allocate(1 << 16) as made:
        made.attach().write(0, bytes(range(256)) * 256)
        yield made


def epochs(*sectors: Sequence[int]) -> list[list[Request]]:
    """A sector each, from the place in the buffer that has the sector's number."""
    return [[Request(True, 512 * at, at, 1) for at in epoch] for epoch in sectors]


def test_all_epochs_are_one_request(machine: Board, disk: Block, space: DataSpace) -> None:
    number = disk.attach(space.share())
    machine.holds = True
    call = machine.calling(disk.commit, number, epochs((1, 9), (4,)))
    assert [kind for kind, _, _ in machine.held] == [Kind.COMMIT]
    assert not call.done()
    machine.work(1)
    call.result(SECONDS)
    assert machine.done == [(Kind.OUT, 1, 512), (Kind.OUT, 9, 512), FLUSH, (Kind.OUT, 4, 512), FLUSH]
    assert machine.contents[512 * 9 : 512 * 10] == bytes(range(256)) * 2


@pytest.mark.parametrize("failing", [(Kind.OUT, 9), (Kind.FLUSH, 0)])
def test_what_fails_is_asked_for_again_from_its_epoch_on(
    machine: Board, disk: Block, space: DataSpace, failing: tuple[Kind, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    number = disk.attach(space.share())
    disk.commit(number, epochs((1,), (9, 12), (4,)))
    good = list(machine.done)
    machine.done.clear()
    again = []
    commit = machine.main._disk.commit

    def fail_in_the_second(asked: Sequence[Sequence[Piece]], *rest: object) -> None:
        again.append([piece.sector for epoch in asked for piece in epoch])
        commit(asked, *rest)  # type: ignore[arg-type]  # what it was called with

    monkeypatch.setattr(machine.main._disk, "commit", fail_in_the_second)
    machine.holds = True
    call = machine.calling(disk.commit, number, epochs((1,), (9, 12), (4,)))
    machine.skipping = 1 if failing[0] is Kind.FLUSH else 0  # the first epoch's flush ends well
    machine.failing = [failing]
    machine.work()
    machine.work()
    call.result(SECONDS)
    assert again == [[1, 9, 12, 4], [9, 12, 4]]
    assert machine.done[:2] == good[:2]
    assert machine.done[-5:] == good[-5:]


def test_an_epoch_that_goes_on_failing_ends_the_commit(machine: Board, disk: Block, space: DataSpace) -> None:
    number = disk.attach(space.share())
    machine.failing = [(Kind.OUT, 9)] * MOST_TRIES
    with pytest.raises(DiskError, match="status 1"):
        disk.commit(number, epochs((1,), (9,), (4,)))
    assert machine.done == [(Kind.OUT, 1, 512), FLUSH], "an epoch that was good is not written again"
    assert not machine.failing


def test_each_epoch_has_its_own_tries(machine: Board, disk: Block, space: DataSpace) -> None:
    number = disk.attach(space.share())
    machine.failing = [(Kind.OUT, 1), (Kind.OUT, 9)] * (MOST_TRIES - 1)
    disk.commit(number, epochs((1,), (9,)))
    assert machine.done == [(Kind.OUT, 1, 512), FLUSH, (Kind.OUT, 9, 512), FLUSH]


def test_a_sector_that_is_written_again_ends_a_request(machine: Board, disk: Block, space: DataSpace) -> None:
    """Else a device that does one again would show, for a moment, an epoch without one that was before it."""
    number = disk.attach(space.share())
    machine.holds = True
    call = machine.calling(disk.commit, number, epochs((1,), (1, 5), (3,)))
    assert machine.held == [(Kind.COMMIT, 0, 3 * 512 + 5 * 16)]
    machine.work(1)
    assert machine.held == [(Kind.COMMIT, 0, 512 + 2 * 16)]
    machine.work(1)
    call.result(SECONDS)


def test_more_commits_than_the_device_has_at_a_time_wait(machine: Board, disk: Block, space: DataSpace) -> None:
    number = disk.attach(space.share())
    machine.holds = True
    calls = [machine.calling(disk.commit, number, epochs((at,), (at + 20,))) for at in range(COMMITS + 1)]
    read = machine.calling(disk.read, number, 0, 90, 1)
    assert [kind for kind, _, _ in machine.held] == [Kind.COMMIT] * COMMITS
    machine.work()
    assert [kind for kind, _, _ in machine.held] == [Kind.COMMIT, Kind.IN]
    machine.work()
    for call in (*calls, read):
        call.result(SECONDS)


def test_an_epoch_that_is_too_large_goes_with_a_barrier() -> None:
    sectors = MOST_BYTES // 512
    with board() as machine, machine.driver() as disk, DataSpace.allocate(2 * MOST_BYTES) as large:
        number = disk.attach(large.share())
        assert sectors > 900
        disk.commit(number, [[Request(True, 0, 0, 900), Request(True, MOST_BYTES, 0, 900)], *epochs((2,))])
        kinds = [kind for kind, _, _ in machine.done]
        assert kinds == [Kind.OUT, Kind.OUT, Kind.FLUSH, Kind.OUT, Kind.FLUSH]


@pytest.mark.parametrize(
    ("failing", "skipping", "is_told"),
    [((Kind.FLUSH, 0), 0, True), ((Kind.FLUSH, 0), 1, False), ((Kind.OUT, 1), 0, False)],
)
def test_who_wrote_before_it_is_told_where_the_flush_behind_that_failed(
    machine: Board, disk: Block, space: DataSpace, failing: tuple[Kind, int], skipping: int, is_told: bool
) -> None:
    writer = machine.client(disk, 2)
    theirs, mine = writer.attach(space.share()), disk.attach(space.share())
    writer.write(theirs, 0, 8, 1)
    machine.failing, machine.skipping = [failing], skipping
    disk.commit(mine, epochs((1,), (2,)))
    assert not machine.failing
    if is_told:
        with pytest.raises(DiskError, match="another's flush has failed"):
            writer.flush()
    writer.flush()


def test_a_flush_waits_for_a_commit_that_began_before_it(machine: Board, disk: Block, space: DataSpace) -> None:
    number = disk.attach(space.share())
    machine.holds = True
    commit = machine.calling(disk.commit, number, epochs((1,), (2,)))
    flush = machine.calling(disk.flush)
    assert [kind for kind, _, _ in machine.held] == [Kind.COMMIT]
    machine.work()
    commit.result(SECONDS)
    machine.work()
    flush.result(SECONDS)


def test_memory_that_is_gone_is_the_commit_s_own_error(machine: Board, disk: Block, space: DataSpace) -> None:
    other = machine.client(disk, 2)
    mine = disk.attach(space.share())
    with DataSpace.allocate(4096) as lost:
        theirs = other.attach(lost.share())
        lost.revoke()
        with pytest.raises(DiskError, match="status 1"):
            other.commit(theirs, [[Request(True, 0, 1, 1)], [Request(True, 512, 2, 1)]])
    assert not machine.done
    disk.commit(mine, epochs((1,)))


@pytest.mark.parametrize("ended", [0, 1, 4, 1 << 31])
def test_what_a_device_says_of_its_steps_leads_nowhere(
    machine: Board, disk: Block, space: DataSpace, ended: int
) -> None:
    """It fails always, and claims that so many have ended: the commit ends, in an error, after some tries."""
    number = disk.attach(space.share())
    machine.fails, machine.claims = True, ended
    with pytest.raises(DiskError, match="status 1"):
        disk.commit(number, epochs((1,), (2,)))
    machine.fails, machine.claims = False, None
    disk.commit(number, epochs((1,), (2,)))
    assert sorted(machine.main._disk._commit_slots) == list(range(COMMITS))
    assert not machine.main._disk._flushing


def test_a_reset_ends_it(machine: Board, disk: Block, space: DataSpace) -> None:
    number = disk.attach(space.share())
    machine.holds = True
    call = machine.calling(disk.commit, number, epochs((1,), (2,)))
    machine.change(lambda: machine.device.configuration_changed())
    machine.main._disk._restart("for a test")
    with pytest.raises(DiskError, match="was reset"):
        call.result(SECONDS)
    machine.holds = False
    disk.commit(number, epochs((1,), (2,)))


def test_a_device_without_commits_is_asked_for_none(machine: Board, space: DataSpace) -> None:
    machine.device.OFFERED &= ~COMMIT
    with machine.driver() as disk:
        number = disk.attach(space.share())
        disk.commit(number, epochs((1,), (2,)))
    assert machine.done == [(Kind.OUT, 1, 512), FLUSH, (Kind.OUT, 2, 512), FLUSH]


def pieces(*sectors: Sequence[int]) -> list[list[Piece]]:
    return [[Piece(True, 0, at, 1024) for at in epoch] for epoch in sectors]


@pytest.mark.parametrize(
    ("asked", "count"),
    [
        (pieces((0,)), 1),
        (pieces((0,), (1,)), 2),  # the later one is the last
        (pieces((0,), (2,), (4,)), 3),
        (pieces((0,), (1,), (4,)), 2),
        (pieces((0,), (2,), (3,), (9,)), 3),
        ([[Piece(True, 0, 0, MOST_BYTES)], *pieces((9000,))], 1),
        ([[Piece(True, 0, 0, MOST_BYTES), Piece(True, 0, 9000, 512)]], 0),
    ],
)
def test_what_may_go_together(asked: list[list[Piece]], count: int) -> None:
    assert together(asked) == count


def test_what_has_failed_is_known_by_the_steps_that_ended() -> None:
    commit = Commit(pieces((0, 4), (8,), (12,)), 0)
    found = []
    for commit.ended in range(9):
        found.append((commit.epochs_ended, commit.failed_in_flush))
    # write write flush, write flush, write flush; and more than there are
    assert [number for number, _ in found] == [0, 0, 0, 1, 1, 2, 2, 2, 2]
    assert [is_flush for _, is_flush in found] == [False, False, True, False, True, False, True, True, True]


def test_it_is_looked_for_as_long_as_its_flushes_take(
    machine: Board, disk: Block, space: DataSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    number = disk.attach(space.share())
    seen = []
    look = driver.Disk._look_ns

    def watched(of: driver.Disk) -> int:
        seen.append(look(of) - driver.LOOK_NS)
        return look(of)

    monkeypatch.setattr(driver.Disk, "_look_ns", watched)
    machine.main._disk._usual_flush_ns = 1000
    machine.holds = True
    call = machine.calling(disk.commit, number, epochs((1,), (2,), (3,)))
    assert seen[0] == 3000
    machine.work()
    call.result(SECONDS)
