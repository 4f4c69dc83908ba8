"""The file system's store on a disk whose driver dies: commits keep their order on the medium, whenever power fails."""

from __future__ import annotations

import random
from typing import Any

import pytest

from libsel4py.errors import InvalidCapability, RemoteError, ServerDied, ServiceError, TooManyDeferred, WrongAnswer
from libsel4py.interfaces.block import MOST_BUFFERS, SECTOR_BYTES, BadRequest, Block, DiskError, Request
from libsel4py.littlefs import StoreFailed
from libsel4py.signature import Word
from libsel4py.testing import connect
from libsel4py.testing.ram_disk import RamDisk, after
from servers.littlefs.store import DiskStore

SECTORS = 8
ROUNDS = 6
Epoch = dict[int, bytes]  # what each sector is written with


class Mortal:
    """A disk's client whose driver dies once, when it has done so many requests of commits."""

    def __init__(self, client: Block, requests: int) -> None:
        self._client = client
        self._left: int | None = requests

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def commit(self, buffer: Word, epochs: list[list[Request]]) -> None:
        total = sum(map(len, epochs))
        if self._left is None or total <= self._left:
            self._client.commit(buffer, epochs)
            self._left = None if self._left is None else self._left - total
            return
        for epoch in epochs:
            done, self._left = epoch[: self._left], max(0, self._left - len(epoch))
            if done:
                self._client.commit(buffer, [done])
        self._left = None
        raise ServerDied("the driver died of a commit")


def is_in_order(image: bytes, epochs: list[Epoch]) -> bool:
    """Whether all epochs up to one are on the medium, and of those behind it nothing but a part of the next."""
    shown = [image[at : at + SECTOR_BYTES] for at in range(0, len(image), SECTOR_BYTES)]
    complete = [bytes(SECTOR_BYTES)] * SECTORS
    for epoch in [*epochs, {}]:
        if all(found in (complete[at], epoch.get(at)) for at, found in enumerate(shown)):
            return True
        for at, data in epoch.items():
            complete[at] = data
    return False


def test_whenever_the_driver_dies_and_power_fails_no_epoch_is_there_without_those_before_it() -> None:
    chance = random.Random(3)
    looked_at = 0
    for _ in range(ROUNDS):
        epochs = [
            {at: chance.randbytes(SECTOR_BYTES) for at in chance.sample(range(SECTORS), chance.randint(1, 3))}
            for _ in range(chance.randint(2, 6))
        ]
        pieces = [[(at * SECTOR_BYTES, data) for at, data in epoch.items()] for epoch in epochs]
        for death in range(sum(map(len, epochs)) + 1):
            disk = RamDisk(SECTORS)
            with connect(disk) as client:
                DiskStore(Mortal(client, death)).commit(pieces)  # type: ignore[arg-type]  # it is asked as one
            for cut in range(len(disk.events) + 1):
                assert is_in_order(after(disk.events[:cut], SECTORS * SECTOR_BYTES), epochs), (death, cut)
                looked_at += 1
            complete = {at: data for epoch in epochs for at, data in epoch.items()}
            assert all(disk.contents[at * SECTOR_BYTES :][:SECTOR_BYTES] == data for at, data in complete.items())
    assert looked_at > 500


@pytest.mark.parametrize("refusal", [DiskError, BadRequest])
def test_a_disk_that_fails_again_and_again_has_the_buffer_once(refusal: type[ServiceError]) -> None:
    """A driver has room for few buffers of a client: with each failure one more would be the end of it."""
    disk = RamDisk(SECTORS)
    with connect(disk) as client:
        store = DiskStore(client)
        store.write([(0, bytes(SECTOR_BYTES))])

        def refuse(*_: object) -> None:
            raise refusal("on order")

        for _ in range(2 * MOST_BUFFERS):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(client, "read", refuse)
                with pytest.raises(StoreFailed):
                    store.read(0, SECTOR_BYTES)
            assert store.read(0, SECTOR_BYTES) == bytes(SECTOR_BYTES)


@pytest.mark.parametrize(
    "failure",
    [InvalidCapability(0), RemoteError("KeyError", "7"), WrongAnswer("nonsense"), TooManyDeferred("64")],
    ids=lambda each: type(each).__name__,
)
def test_whatever_its_driver_does_is_a_failure_of_the_store(failure: Exception) -> None:
    """A driver that was given up, whose capability names nothing any more; and one that has a bug, or is full."""
    with connect(RamDisk(SECTORS)) as client, pytest.MonkeyPatch.context() as patch:
        store = DiskStore(client)

        def fail(*_: object) -> None:
            raise failure

        for name in ("read", "write", "transfer", "commit", "flush", "detach"):
            patch.setattr(client, name, fail)
        piece = (0, bytes(SECTOR_BYTES))
        with pytest.raises(StoreFailed):
            store.read(0, SECTOR_BYTES)
        with pytest.raises(StoreFailed):
            store.write([piece])
        with pytest.raises(StoreFailed):
            store.commit([[piece], [piece]])
        with pytest.raises(StoreFailed):
            store.flush()
    failure.__traceback__ = None  # it is there for good, and has had the store


def test_epochs_that_share_no_sector_go_by_one_call() -> None:
    disk = RamDisk(SECTORS)
    calls = []
    with connect(disk) as client:
        store = DiskStore(client)
        commit = client.commit
        client.commit = lambda buffer, epochs: (calls.append(len(epochs)), commit(buffer, epochs))  # type: ignore[method-assign]
        store.commit([[(at * SECTOR_BYTES, bytes(SECTOR_BYTES))] for at in (0, 1, 2, 1, 2)])
    assert calls == [4, 1]


def test_what_is_larger_than_a_request_of_the_disk_s_goes_by_several() -> None:
    disk = RamDisk(4096)
    data = random.Random(4).randbytes(disk.contents.__len__() // 2)
    with connect(disk) as client:
        store = DiskStore(client)
        asked: list[int] = []

        class Small:
            """The disk, which takes 100 sectors at once."""

            def __getattr__(self, name: str) -> Any:
                return getattr(client, name)

            def transfer(self, buffer: Word, requests: list[Request]) -> None:
                asked.extend(request.count for request in requests)
                client.transfer(buffer, requests)

        store._disk, store._most = Small(), 100 * SECTOR_BYTES  # type: ignore[assignment]  # it is asked as one
        store.write([(SECTOR_BYTES, data)])
        assert store.read(SECTOR_BYTES, len(data)) == data
    assert max(asked) == 100
    assert sum(asked) == 2 * len(data) // SECTOR_BYTES


def test_no_request_of_a_commit_is_larger_than_the_disk_takes() -> None:
    disk = RamDisk(2048)
    with connect(disk) as client:
        store = DiskStore(client)
        data = random.Random(1).randbytes((client.geometry().most_sectors + 1) * SECTOR_BYTES)
        store.commit([[(0, data)]])
        assert store.read(0, len(data)) == data


def test_a_disk_that_takes_a_sector_at_a_time_is_asked_for_no_more_requests_than_a_call_takes() -> None:
    disk = RamDisk(128)
    data = random.Random(2).randbytes(100 * SECTOR_BYTES)
    with connect(disk) as client:
        store = DiskStore(client)
        store._most = SECTOR_BYTES
        store.write([(0, data)])
        assert store.read(0, len(data)) == data
