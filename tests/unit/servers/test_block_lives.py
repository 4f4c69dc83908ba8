"""What a client is told of others' writes to its part of the disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from libsel4py.dataspace import DataSpace
from libsel4py.interfaces.block import BadRequest, Block, DiskError, Request
from libsel4py.littlefs import LittleFsVolume, format_store
from libsel4py.littlefs.heads import Heads
from servers.block.lives import Lives
from servers.block.requests import Extent
from servers.littlefs import store
from servers.littlefs.store import DiskStore
from tests.unit.sdk.cut_memory import CutMemory
from tests.unit.servers.disk_board import Board, board

SECONDS = 10.0
OTHER = 2
WHOLE, LOW, HIGH = Extent(0, 100, False), Extent(0, 50, False), Extent(50, 50, False)


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
        yield made


def test_what_overlaps_counts() -> None:
    lives = Lives()
    seen = {badge: lives.of(badge, extent) for badge, extent in ((1, WHOLE), (2, LOW), (3, HIGH))}
    lives.writes(3, HIGH)
    assert lives.of(1, WHOLE) != seen[1]
    assert lives.of(2, LOW) == seen[2]
    assert lives.of(3, HIGH) == seen[3], "its own writes leave it as it is"


WRITES: dict[str, Callable[[Block, int], None]] = {
    "write": lambda client, buffer: client.write(buffer, 0, 8, 1),
    "transfer": lambda client, buffer: client.transfer(buffer, [Request(False, 0, 0, 1), Request(True, 0, 8, 1)]),
    "commit": lambda client, buffer: client.commit(buffer, [[Request(True, 0, 8, 1)]]),
}


@pytest.mark.parametrize("how", WRITES)
def test_another_s_write_is_told_and_one_s_own_is_not(machine: Board, disk: Block, space: DataSpace, how: str) -> None:
    other = machine.client(disk, OTHER)
    mine, theirs = disk.attach(space.share()), other.attach(space.share())
    seen = disk.geometry().life
    WRITES[how](disk, mine)
    other.read(theirs, 0, 8, 1)
    other.flush()
    with pytest.raises(BadRequest):
        other.write(theirs, 0, 1 << 40, 1)
    assert disk.geometry().life == seen
    WRITES[how](other, theirs)
    assert disk.geometry().life != seen


def test_who_asks_while_another_writes_has_not_seen_its_end(machine: Board, disk: Block, space: DataSpace) -> None:
    other = machine.client(disk, OTHER)
    theirs = other.attach(space.share())
    before = disk.geometry().life
    machine.holds = True
    call = machine.calling(other.write, theirs, 0, 8, 1)
    during = disk.geometry().life
    assert during != before, "some of it may be written"
    machine.fails = True
    machine.holds = False
    machine.work()
    with pytest.raises(DiskError):
        call.result(SECONDS)
    assert disk.geometry().life not in (before, during)


def test_each_life_of_the_driver_has_others() -> None:
    assert Lives().of(1, WHOLE) != Lives().of(1, WHOLE)


def test_a_file_system_does_not_believe_what_it_knew_before_another_wrote(
    machine: Board, disk: Block, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "BUFFER_BYTES", 1 << 16)
    memory, mine, other = CutMemory(1 << 16), DiskStore(disk), DiskStore(machine.client(disk, OTHER))
    format_store(mine)

    def volume() -> LittleFsVolume:
        return LittleFsVolume(mine, heads=Heads(memory, disk.geometry().life))

    first = volume()
    first.open("former", create=True, exclusive=True).close()
    first.close()
    assert Heads(memory, disk.geometry().life).geometry is not None
    format_store(other)
    theirs = LittleFsVolume(other)
    theirs.open("theirs", create=True, exclusive=True).close()
    theirs.close()
    assert Heads(memory, disk.geometry().life).geometry is None
    assert [entry.name for entry in volume().list("")] == ["theirs"]
