"""A disk's commits: several writes and flushes as one request, in order, as far as they end well; and what is none."""

from __future__ import annotations

import asyncio
import random
import struct
import time
from collections.abc import Iterator, Sequence

import pytest

from hw.devices.block import COMMIT, ENDED, FLUSH, MOST_STEPS, RO, STEP, Kind, Outcome
from hw.devices.virtio_registers import Register, Status
from hw.devices.virtqueue import NEXT, WRITE
from hw.iommu import Buffer
from tests.unit.hw.test_block import DATA, HEADERS, SECTORS, Recorder, System
from tests.unit.hw.virtio_driver import AT, FRAME_BYTES

ANSWER = HEADERS + 0x800  # how many steps have ended, and the status


class FailingAt(Recorder):
    """Fails at what would be the entry of this number in its log."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self._at = at

    def _ensure(self) -> None:
        if len(self.log) == self._at:
            raise OSError("it cannot")


def offer_commit(
    system: System,
    steps: Sequence[tuple[int, int]],
    data: bytes,
    count: int | None = None,
    room: int = ENDED.size,
    slot: int = 0,
) -> None:
    """Offer a commit of these steps; ``count``: another number of them in the header."""
    table = b"".join(STEP.pack(*step) for step in steps)
    header, at, answer = HEADERS + 0x400 * slot, DATA + 0x4000 * slot, ANSWER + 16 * slot
    count = len(steps) if count is None else count
    system.guest.write(header, struct.pack("<IIQ", Kind.COMMIT, count, 0) + table[:512])
    system.guest.write(at, data or b"\0")
    system.guest.write(answer, b"\xff" * 8)
    first = 3 * slot
    system.guest.descriptor(first, AT + header, 16 + len(table), NEXT, first + 1 if data else first + 2)
    system.guest.descriptor(first + 1, AT + at, len(data), NEXT, first + 2)
    system.guest.descriptor(first + 2, AT + answer, room + 1, WRITE)
    system.guest.offer(first)


def answer(system: System, slot: int = 0) -> tuple[int, int]:
    """Steps that ended, and the status."""
    ended, status = struct.unpack("<IB", system.guest.read(ANSWER + 16 * slot, 5))
    return ended, status


@pytest.fixture
def medium() -> Recorder:
    return Recorder()


def begun(medium: Recorder, features: int = FLUSH | COMMIT, read_only: bool = False) -> System:
    system = System(medium, read_only)
    system.guest.begin(features, size=16)
    return system


@pytest.fixture
def system(medium: Recorder) -> Iterator[System]:
    made = begun(medium)
    yield made
    made.close()


STEPS = ((1, 1), (5, 2), (0, 0), (1, 1), (0, 0))
DONE = [("write", 512, 512), ("write", 2560, 1024), "flush", ("write", 512, 512), "flush"]
BYTES = b"a" * 512 + b"b" * 1024 + b"c" * 512


def test_its_steps_are_carried_out_in_order(system: System, medium: Recorder) -> None:
    offer_commit(system, STEPS, BYTES)
    assert system.run(1) == [(0, 5)]
    assert (answer(system), medium.log) == ((5, Outcome.OK), DONE)
    assert (medium.bytes[512:1024], medium.bytes[2560:3584]) == (b"c" * 512, b"b" * 1024)


@pytest.mark.parametrize("at", range(5))
def test_nothing_is_begun_behind_a_step_that_fails(at: int) -> None:
    medium = FailingAt(at)
    system = begun(medium)
    offer_commit(system, STEPS, BYTES)
    assert system.run(1) == [(0, 5)]
    assert (answer(system), medium.log) == ((at, Outcome.IOERR), DONE[:at])
    system.close()


def test_it_comes_behind_what_was_written_before(system: System, medium: Recorder) -> None:
    medium.reads_now = True
    system.request(Kind.OUT, 9, b"z" * 512, slot=3)
    offer_commit(system, STEPS, BYTES)
    system.request(Kind.FLUSH, slot=4)
    system.run(3)
    assert medium.log == [("write", 9 * 512, 512), *DONE, "flush"]


def test_one_that_was_not_agreed_to_is_no_request(medium: Recorder) -> None:
    system = begun(medium, FLUSH)
    offer_commit(system, STEPS, BYTES)
    system.run(1)
    assert (system.guest.read(ANSWER + 4, 1)[0], medium.log) == (Outcome.UNSUPP, [])
    system.close()


@pytest.mark.parametrize(
    ("steps", "size", "count", "room"),
    [
        ([], 0, None, 4),  # nothing
        ([(0, 0)] * (MOST_STEPS + 1), 0, None, 4),  # too much
        ([(1, 1)], 512, 2, 4),  # a table that its data would have to be a part of
        ([(1, 1)], 512, 1 << 31, 4),
        ([(1, 1)], 511, None, 4),
        ([(1, 1)], 0, None, 4),
        ([(1, 1)], 1024, None, 4),
        ([(1, 2), (0, 0), (1, 1 << 63)], 512, None, 4),
        ([(1, 1 << 55), (0, 0), (1, 1)], 512, None, 4),  # more bytes than a number has room for
        ([(SECTORS, 1)], 512, None, 4),
        ([(SECTORS - 1, 2)], 1024, None, 4),
        ([((1 << 64) - 1, 1)], 512, None, 4),
        ([(1, 1)], 512, None, 3),  # no room for the answer
    ],
)
def test_one_that_makes_no_sense_is_refused_whole(
    system: System, medium: Recorder, steps: list[tuple[int, int]], size: int, count: int | None, room: int
) -> None:
    offer_commit(system, steps, b"x" * size, count, room)
    assert system.run(1) == [(0, 1)]
    assert (system.guest.read(ANSWER + room, 1)[0], medium.log) == (Outcome.IOERR, [])


def test_a_disk_that_is_read_only_flushes_and_writes_nothing(medium: Recorder) -> None:
    system = begun(medium, FLUSH | COMMIT | RO, read_only=True)
    offer_commit(system, [(0, 0), (1, 1)], b"x" * 512)
    offer_commit(system, [(0, 0)], b"", slot=1)
    system.run(2)
    assert (answer(system)[1], answer(system, 1)) == (Outcome.IOERR, (1, Outcome.OK))
    assert medium.log == ["flush"]
    system.close()


def test_data_that_cannot_be_reached_is_that_commits_error(system: System, medium: Recorder) -> None:
    offer_commit(system, [(1, 1), (0, 0)], b"x" * 512)
    system.guest.descriptor(1, AT + FRAME_BYTES, 512, NEXT, 2)
    system.run(1)
    assert (answer(system)[1], medium.log) == (Outcome.IOERR, [])


def test_a_fault_that_is_asked_for_is_before_its_first_step(system: System, medium: Recorder) -> None:
    system.disk.fail_next(1)
    offer_commit(system, STEPS, BYTES)
    system.run(1)
    assert (answer(system), medium.log) == ((0, Outcome.IOERR), [])


def test_random_ones_never_end_the_disk(system: System, medium: Recorder) -> None:
    randomly = random.Random(5)
    sizes = (0, 1, 2, 64, 1 << 31, 1 << 63)
    for _ in range(200):
        steps = [(randomly.choice(sizes), randomly.choice(sizes)) for _ in range(randomly.randrange(5))]
        offer_commit(system, steps, b"y" * randomly.choice((0, 512, 1024)), randomly.choice((None, 0, 1, 3, 65)))
        system.guest.set(Register.QUEUE_NOTIFY, 0)
        assert system.disk.finish(time.monotonic() + 20)
        system.guest.set(Register.STATUS, 0)
        system.guest.begin(FLUSH | COMMIT, size=16)
    assert not system.device.state.status & Status.NEEDS_RESET
    medium.log.clear()
    offer_commit(system, STEPS, BYTES)
    system.run(1)
    assert (answer(system), medium.log) == ((5, Outcome.OK), DONE)


def test_a_driver_that_ends_within_a_commit_leaves_it_whole_and_before_what_its_successor_writes(
    system: System, medium: Recorder
) -> None:
    medium.gate.clear()
    offer_commit(system, STEPS, BYTES)
    system.guest.set(Register.QUEUE_NOTIFY, 0)
    system.loop.run_until_complete(asyncio.sleep(0))  # taken, and given to the thread
    system.guest.set(Register.STATUS, 0)
    system.guest.write(ANSWER, b"\xee" * 8)
    system.guest.begin(FLUSH | COMMIT, size=16)
    system.request(Kind.OUT, 1, b"z" * 512, slot=3)
    system.guest.set(Register.QUEUE_NOTIFY, 0)
    system.loop.run_until_complete(asyncio.sleep(0))
    medium.gate.set()
    assert system.run(1) == [(9, 1)]
    assert medium.log == [*DONE, ("write", 512, 512)]
    assert system.guest.read(ANSWER, 8) == b"\xee" * 8, "nobody is told of it"


class Logged(Recorder):
    """One whose log has the bytes as well: what a loss of power cuts."""

    def __init__(self) -> None:
        super().__init__()
        self.cut: list[tuple[int, bytes] | None] = []

    def write(self, offset: int, data: Buffer) -> None:
        super().write(offset, data)
        self.cut.append((offset, bytes(data)))

    def flush(self) -> None:
        super().flush()
        self.cut.append(None)


@pytest.mark.parametrize(("at", "outcome"), [(0, Outcome.OK), (1, Outcome.IOERR)])
def test_a_commit_whose_flush_fails_for_a_driver_that_is_reset_fails_the_next_one_s_flush(
    at: int, outcome: Outcome
) -> None:
    medium = FailingAt(at)
    system = begun(medium)
    offer_commit(system, [(1, 1), (0, 0)], b"a" * 512)
    system.run(1)
    assert answer(system) == (at, Outcome.IOERR)
    medium.log.clear()
    medium.log += ["more"] * 2  # from here on it fails no more
    system.guest.set(Register.STATUS, 0)
    system.guest.begin(FLUSH | COMMIT, size=16)
    offer_commit(system, [(2, 1), (0, 0)], b"b" * 512)
    system.run(1)
    assert answer(system) == (2, Outcome.OK)
    system.request(Kind.FLUSH, slot=1)
    system.run(2)
    assert system.status(1) == outcome
    system.close()
