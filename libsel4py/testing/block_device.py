"""A conformance suite for disks: whatever implements `Block` can run it, in a unit test or in a booted system.

    from libsel4py.testing.block_device import BLOCK_CHECKS, Subject

    @pytest.mark.parametrize("name", BLOCK_CHECKS)
    def test_it_is_a_disk(name: str) -> None:
        with connect(Mine) as disk:
            BLOCK_CHECKS[name](Subject(disk))

Each check has a stable id and a sentence, attaches buffers of its own, and raises AssertionError with what it saw. What
the disk holds is lost. It needs 128 sectors at least, and a client of the disk's that has no buffers yet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from libsel4py.abi import Rights
from libsel4py.dataspace import DataSpace, NotADataSpace, SharedMemory
from libsel4py.interfaces.block import (
    MOST_BUFFERS,
    MOST_EPOCHS,
    MOST_REQUESTS,
    OFFSET_UNIT,
    BadRequest,
    Block,
    DiskError,
    Geometry,
    ReadOnlyDisk,
    Request,
)
from libsel4py.mapping import Mapping
from libsel4py.testing.checks import by_id, refused, run_all

SECTOR: Final = 512
PAGE: Final = 4096
LEAST_SECTORS: Final = 128


@dataclass
class Subject:
    """What is examined: a client of a disk. ``strange`` makes a capability that is no memory."""

    disk: Block
    strange: Callable[[], SharedMemory] | None = None
    geometry: Geometry = field(init=False)

    def __post_init__(self) -> None:
        self.geometry = self.disk.geometry()
        assert self.geometry.sectors >= LEAST_SECTORS, f"{self.geometry.sectors} sectors are too few for these checks"

    @contextmanager
    def buffer(self, size: int = 16 * PAGE, rights: Rights = Rights.READ | Rights.WRITE) -> Iterator[Buffer]:
        """A buffer of the disk's, which is detached behind the block unless it was before."""
        with DataSpace.allocate(size) as space:
            mapping = space.attach()
            shared = space.share(rights)
            number = self.disk.attach(shared)
            made = Buffer(self.disk, space, mapping, number)
            yield made
            if not made.is_detached:
                self.disk.detach(number)

    def ensure_writable(self) -> bool:
        """Whether the disk can be written; checks that it says so if it cannot."""
        if not self.geometry.read_only:
            return True
        with self.buffer() as buffer:
            refused(ReadOnlyDisk, "a write to a read-only disk", lambda: self.disk.write(buffer.number, 0, 0, 1))
        return False


@dataclass
class Buffer:
    """Memory that is attached to the disk."""

    disk: Block
    space: DataSpace
    mapping: Mapping
    number: int
    is_detached: bool = False

    def put(self, sector: int, data: bytes, offset: int = 0) -> None:
        """Write these bytes to the disk."""
        self.mapping.write(offset, data)
        self.disk.write(self.number, offset, sector, len(data) // SECTOR)

    def get(self, sector: int, count: int = 1, offset: int = 0) -> bytes:
        """What the disk holds."""
        self.mapping.write(offset, b"\xa5" * (count * SECTOR))
        self.disk.read(self.number, offset, sector, count)
        return self.mapping.read(offset, count * SECTOR)


def pattern(seed: int, sectors: int) -> bytes:
    """Bytes that are others in each sector, and for each seed."""
    return b"".join(bytes([seed % 256, at % 256]) * (SECTOR // 2) for at in range(sectors))


def _block_0001(subject: Subject) -> None:
    """BLOCK0001 A disk has sectors of 512 bytes, and a request may be of 64 KiB or more."""
    geometry = subject.geometry
    assert geometry.sector_bytes == SECTOR, f"sectors of {geometry.sector_bytes} bytes"
    assert geometry.most_sectors >= 128, f"{geometry.most_sectors} sectors in a request are too few"
    assert subject.disk.geometry() == geometry, "asked twice, it says something else"


def _block_0002(subject: Subject) -> None:
    """BLOCK0002 What was written is read: the first sector, the last one, and many at once."""
    if not subject.ensure_writable():
        return
    last = subject.geometry.sectors - 1
    with subject.buffer() as buffer:
        for seed, (sector, count) in enumerate(((0, 1), (last, 1), (last - 15, 16), (3, 77)), 1):
            data = pattern(seed, count)
            buffer.put(sector, data)
            assert buffer.get(sector, count) == data, f"{count} sectors from {sector} on came back as something else"


def _block_0003(subject: Subject) -> None:
    """BLOCK0003 A write changes no other sector, and a read no other byte of the buffer."""
    with subject.buffer() as buffer:
        if subject.ensure_writable():
            buffer.put(20, pattern(1, 12))
            buffer.put(25, pattern(2, 2))
            expected = pattern(1, 12)[: 5 * SECTOR] + pattern(2, 2) + pattern(1, 12)[7 * SECTOR :]
            assert buffer.get(20, 12) == expected, "sectors beside those that were written changed"
        buffer.mapping.write(0, b"\x5a" * (4 * SECTOR))
        subject.disk.read(buffer.number, SECTOR + OFFSET_UNIT, 20, 2)
        assert buffer.mapping.read(0, SECTOR + OFFSET_UNIT) == b"\x5a" * (SECTOR + OFFSET_UNIT), "bytes before changed"
        rest = SECTOR - OFFSET_UNIT
        assert buffer.mapping.read(3 * SECTOR + OFFSET_UNIT, rest) == b"\x5a" * rest, "bytes behind changed"


def _block_0004(subject: Subject) -> None:
    """BLOCK0004 What is not on the disk is refused: behind its end, no sector, more than a request may have."""
    end = subject.geometry.sectors
    with subject.buffer() as buffer:
        for sector, count in ((end, 1), (end - 1, 2), (1 << 63, 1), ((1 << 64) - 1, 2), (0, 0), (0, 1 << 40)):
            for act in (subject.disk.read, subject.disk.write):
                refused(BadRequest, f"{count} sectors from {sector} on", lambda: act(buffer.number, 0, sector, count))  # noqa: B023
        count = subject.geometry.most_sectors + 1
        refused(BadRequest, f"a request of {count}", lambda: subject.disk.read(buffer.number, 0, 0, count))


def _block_0005(subject: Subject) -> None:
    """BLOCK0005 What is not in the buffer is refused, and crooked offsets are."""
    with subject.buffer(2 * PAGE) as buffer:
        size = buffer.space.size
        for offset, count in ((size, 1), (size - SECTOR + 4, 1), (0, 17), (1 << 63, 1), ((1 << 64) - 4, 1), (2, 1)):
            for act in (subject.disk.read, subject.disk.write):
                refused(BadRequest, f"offset {offset} of {size}", lambda: act(buffer.number, offset, 0, count))  # noqa: B023
        subject.disk.read(buffer.number, size - SECTOR, 0, 1)


def _block_0006(subject: Subject) -> None:
    """BLOCK0006 Buffers that there are none of are refused, and one that was detached is none."""
    with subject.buffer() as buffer:
        for number in (0, buffer.number + 1, (1 << 64) - 1):
            refused(BadRequest, f"buffer {number}", lambda: subject.disk.read(number, 0, 0, 1))  # noqa: B023
            refused(BadRequest, f"detaching {number}", lambda: subject.disk.detach(number))  # noqa: B023
        subject.disk.detach(buffer.number)
        buffer.is_detached = True
        refused(BadRequest, "a detached buffer", lambda: subject.disk.read(buffer.number, 0, 0, 1))
        refused(BadRequest, "detaching twice", lambda: subject.disk.detach(buffer.number))


def _block_0007(subject: Subject) -> None:
    """BLOCK0007 A transfer does all of its requests: side by side, scattered, and backwards."""
    if not subject.ensure_writable():
        return
    orders: tuple[Callable[[int], int], ...] = (lambda at: at, lambda at: 3 * at, lambda at: 40 - at)
    with subject.buffer() as buffer:
        for seed, place in enumerate(orders, 10):
            data = pattern(seed, MOST_REQUESTS)
            buffer.mapping.write(0, data)
            requests = [Request(True, at * SECTOR, place(at), 1) for at in range(MOST_REQUESTS)]
            subject.disk.transfer(buffer.number, requests)
            again = [Request(False, 16384 + at * SECTOR, place(at), 1) for at in range(MOST_REQUESTS)]
            subject.disk.transfer(buffer.number, again)
            assert buffer.mapping.read(16384, len(data)) == data, "a transfer's requests came back as something else"
            for at in (0, MOST_REQUESTS - 1):
                assert buffer.get(place(at), offset=40960) == data[at * SECTOR : (at + 1) * SECTOR], f"request {at}"


def _block_0008(subject: Subject) -> None:
    """BLOCK0008 A transfer with one bad request does none of them."""
    if not subject.ensure_writable():
        return
    with subject.buffer() as buffer:
        buffer.put(30, pattern(1, 4))
        buffer.mapping.write(0, pattern(2, 4))
        bad = Request(True, 0, subject.geometry.sectors, 1)
        refused(
            BadRequest,
            "a transfer with a bad request",
            lambda: subject.disk.transfer(buffer.number, [Request(True, 0, 30, 4), bad]),
        )
        assert buffer.get(30, 4, offset=8192) == pattern(1, 4), "the good part of a bad transfer was written"


def _block_0009(subject: Subject) -> None:
    """BLOCK0009 A transfer of nothing does nothing, and one of too much is refused."""
    with subject.buffer() as buffer:
        subject.disk.transfer(buffer.number, [])
        many = [Request(False, 0, 0, 1)] * (MOST_REQUESTS + 1)
        refused(BadRequest, "a transfer of too many", lambda: subject.disk.transfer(buffer.number, many))
        refused(
            BadRequest, "a negative sector", lambda: subject.disk.transfer(buffer.number, [Request(False, 0, -1, 1)])
        )
        refused(
            BadRequest, "a negative offset", lambda: subject.disk.transfer(buffer.number, [Request(False, -4, 0, 1)])
        )


def _block_0010(subject: Subject) -> None:
    """BLOCK0010 A flush returns, with or without something to flush, and changes nothing."""
    subject.disk.flush()
    with subject.buffer() as buffer:
        if subject.ensure_writable():
            buffer.put(40, pattern(7, 2))
        before = buffer.get(40, 2)
        subject.disk.flush()
        assert buffer.get(40, 2) == before, "a flush changed sectors"


def _block_0011(subject: Subject) -> None:
    """BLOCK0011 A client has so many buffers and no more; one that is detached makes room, and numbers differ."""
    with DataSpace.allocate(PAGE) as space:
        numbers = [subject.disk.attach(space.share()) for _ in range(MOST_BUFFERS)]
        assert len(set(numbers)) == MOST_BUFFERS, f"numbers {numbers}"
        refused(BadRequest, "one buffer more", lambda: subject.disk.attach(space.share()))
        subject.disk.detach(numbers.pop())
        numbers.append(subject.disk.attach(space.share()))
        for number in numbers:
            subject.disk.detach(number)


def _block_0012(subject: Subject) -> None:
    """BLOCK0012 Two buffers are apart: what is read into one is not in the other, from one's own memory each."""
    with subject.buffer(PAGE) as first, subject.buffer(PAGE) as second:
        for each in (first, second):
            each.mapping.write(0, b"\x33" * PAGE)
        subject.disk.read(first.number, 0, 50, 8)
        assert second.mapping.read(0, PAGE) == b"\x33" * PAGE, "a read went to another buffer as well"
        if subject.ensure_writable():
            second.mapping.write(0, pattern(9, 8))
            subject.disk.write(second.number, 0, 50, 8)
            assert first.get(50, 8) == pattern(9, 8)


def _block_0013(subject: Subject) -> None:
    """BLOCK0013 A buffer of several frames is one: requests go across their borders."""
    with subject.buffer(7 * PAGE) as buffer:
        assert len(buffer.space.frames) > 1
        if not subject.ensure_writable():
            subject.disk.read(buffer.number, 0, 0, 56)
            return
        data = pattern(5, 54)
        buffer.put(60, data, offset=SECTOR)
        assert buffer.get(60, 54, offset=SECTOR) == data


def _block_0014(subject: Subject) -> None:
    """BLOCK0014 What is no memory is refused, and the disk goes on."""
    if subject.strange is not None:
        strange = subject.strange
        refused(NotADataSpace, "a capability that is no memory", lambda: subject.disk.attach(strange()))
    with subject.buffer() as buffer:
        subject.disk.read(buffer.number, 0, 0, 1)


def _block_0015(subject: Subject) -> None:
    """BLOCK0015 Memory that was taken back is a disk error, in either direction, and the disk goes on."""
    with subject.buffer() as other, subject.buffer() as buffer:
        before = other.get(70)
        buffer.space.revoke()
        refused(DiskError, "a read to lost memory", lambda: subject.disk.read(buffer.number, 0, 70, 1))
        if subject.ensure_writable():
            refused(DiskError, "a write from lost memory", lambda: subject.disk.write(buffer.number, 0, 70, 1))
        assert other.get(70) == before, "a write from memory that is gone has changed the disk"


def _block_0016(subject: Subject) -> None:
    """BLOCK0016 Memory that was shared for reading alone can be written from, and not read to."""
    with subject.buffer(rights=Rights.READ) as buffer, subject.buffer() as other:
        buffer.mapping.write(0, pattern(3, 2))
        refused(DiskError, "a read to read-only memory", lambda: subject.disk.read(buffer.number, 0, 80, 2))
        assert buffer.mapping.read(0, 2 * SECTOR) == pattern(3, 2), "read-only memory was written"
        if subject.ensure_writable():
            subject.disk.write(buffer.number, 0, 80, 2)
            assert other.get(80, 2) == pattern(3, 2)


def _block_0017(subject: Subject) -> None:
    """BLOCK0017 A commit writes all of its epochs, the later over the earlier; of a bad one nothing is written."""
    if not subject.ensure_writable():
        return
    with subject.buffer() as buffer:
        buffer.mapping.write(0, pattern(1, 4) + pattern(2, 2))
        first, second = Request(True, 0, 90, 4), Request(True, 4 * SECTOR, 91, 2)
        subject.disk.commit(buffer.number, [[first], [second, Request(True, 0, 100, 1)]])
        expected = pattern(1, 1) + pattern(2, 2) + pattern(1, 4)[3 * SECTOR :]
        assert buffer.get(90, 4, offset=8192) == expected, "the epochs are not on the disk, one over the other"
        assert buffer.get(100, 1, offset=8192) == pattern(1, 1)
        buffer.mapping.write(0, pattern(3, 4))
        many = [[Request(True, 0, 90, 1)]] * (MOST_EPOCHS + 1)
        long = [[Request(True, 0, 90, 1)] * MOST_REQUESTS, [Request(True, 0, 90, 1)]]
        reads, empty = [[first], [Request(False, 0, 90, 1)]], [[first], []]
        beyond = [[first], [Request(True, 0, subject.geometry.sectors, 1)]]
        for bad in (many, long, reads, empty, beyond):
            refused(BadRequest, f"a commit of {bad}", lambda: subject.disk.commit(buffer.number, bad))  # noqa: B023
        assert buffer.get(90, 4, offset=8192) == expected, "a part of a bad commit was written"
        subject.disk.commit(buffer.number, [])


BLOCK_CHECKS: Final = by_id(
    (
        _block_0001,
        _block_0002,
        _block_0003,
        _block_0004,
        _block_0005,
        _block_0006,
        _block_0007,
        _block_0008,
        _block_0009,
        _block_0010,
        _block_0011,
        _block_0012,
        _block_0013,
        _block_0014,
        _block_0015,
        _block_0016,
        _block_0017,
    )
)


def check_block_device(subject: Subject) -> None:
    """Run all checks. Raises AssertionError, with the id and sentence of the check that failed as a note."""
    run_all(BLOCK_CHECKS, subject)


__all__ = ["BLOCK_CHECKS", "Subject", "check_block_device"]
