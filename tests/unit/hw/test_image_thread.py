"""The thread of an image: requests in order, errors told, and nothing left when it is closed."""

from __future__ import annotations

import os
import select
from array import array
from collections.abc import Iterator
from pathlib import Path

import pytest

from hw.devices.block import ENDED, STEP, Kind, Outcome, Request
from hw.devices.image_thread import ImageThread
from hw.devices.medium import Answer
from hw.devices.virtqueue import Chain
from hw.iommu import Segment

SIZE = 1 << 16


def request(kind: Kind, sector: int = 0, size: int = 0, data: bytes = b"") -> Request:
    return Request(Chain(0, (), ()), kind, sector, size or len(data), (), Segment(0, 1), 0, data)


@pytest.fixture
def descriptor(tmp_path: Path) -> Iterator[int]:
    opened = os.open(tmp_path / "image", os.O_RDWR | os.O_CREAT)
    os.ftruncate(opened, SIZE)
    yield opened
    os.close(opened)


def answers(thread: ImageThread, count: int) -> list[Answer]:
    found: list[Answer] = []
    while len(found) < count:
        assert select.select([thread.bell], [], [], 20)[0]
        thread.answer_bell()
        found += thread.finished_nowait()
    return found


def test_requests_are_carried_out_in_order(descriptor: int) -> None:
    attention = array("Q", (0,))
    thread = ImageThread(descriptor, attention)
    for number in range(40):
        thread.carry_out(request(Kind.OUT, 3, data=bytes([number]) * 1024))
        thread.carry_out(request(Kind.IN, 4, size=512))
        thread.carry_out(request(Kind.FLUSH))
        thread.begin()
    found = answers(thread, 120)
    assert {answer.outcome for answer in found} == {Outcome.OK}
    assert [answer.request.kind for answer in found[:3]] == [Kind.OUT, Kind.IN, Kind.FLUSH]
    assert [bytes(answer.data) for answer in found[1::3]] == [bytes([number]) * 512 for number in range(40)]
    assert attention[0] == 1
    thread.close()


def test_an_error_is_the_request_s_own(descriptor: int) -> None:
    thread = ImageThread(descriptor, array("Q", (0,)))
    thread.carry_out(request(Kind.IN, SIZE // 512, size=512))  # the file is shorter
    thread.carry_out(request(Kind.IN, 0, size=512))
    thread.begin()
    assert [answer.outcome for answer in answers(thread, 2)] == [Outcome.IOERR, Outcome.OK]
    thread.close()


@pytest.fixture
def lost() -> Iterator[int]:
    """An opening that the host tells of a loss: what cannot be flushed stands for it."""
    reader, writer = os.pipe()
    yield writer
    os.close(reader)
    os.close(writer)


def test_what_the_host_may_have_told_a_killed_kernel_is_told_by_the_first_flush(descriptor: int, lost: int) -> None:
    thread = ImageThread(descriptor, array("Q", (0,)), lost)
    for kind in (Kind.OUT, Kind.FLUSH, Kind.FLUSH):
        thread.carry_out(request(kind, data=b"a" * 512 if kind is Kind.OUT else b""))
    thread.begin()
    assert [answer.outcome for answer in answers(thread, 3)] == [Outcome.OK, Outcome.IOERR, Outcome.OK]
    thread.close()


def test_it_is_told_by_the_first_flush_of_a_commit(descriptor: int, lost: int) -> None:
    thread = ImageThread(descriptor, array("Q", (0,)), lost)
    thread.carry_out(commit((1, 1), (0, 0), (2, 1), data=b"a" * 512 + b"b" * 512))
    thread.carry_out(commit((1, 1), (0, 0), (2, 1), data=b"a" * 512 + b"b" * 512))
    thread.begin()
    first, second = answers(thread, 2)
    assert (first.outcome, ENDED.unpack(first.data)) == (Outcome.IOERR, (1,))
    assert (second.outcome, ENDED.unpack(second.data)) == (Outcome.OK, (3,))
    thread.close()


def test_an_opening_that_was_told_nothing_changes_nothing(descriptor: int) -> None:
    witness = os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY)
    thread = ImageThread(descriptor, array("Q", (0,)), witness)
    thread.carry_out(request(Kind.FLUSH))
    thread.begin()
    assert [answer.outcome for answer in answers(thread, 1)] == [Outcome.OK]
    thread.close()
    os.close(witness)


def test_closing_waits_for_what_was_given(descriptor: int) -> None:
    thread = ImageThread(descriptor, array("Q", (0,)))
    for sector in range(100):
        thread.carry_out(request(Kind.OUT, sector, data=bytes([sector]) * 512))
    thread.carry_out(request(Kind.FLUSH))
    thread.close()
    assert os.pread(descriptor, 100 * 512, 0) == b"".join(bytes([sector]) * 512 for sector in range(100))
    with pytest.raises(ValueError, match="closed"):
        thread.carry_out(request(Kind.FLUSH))


def commit(*steps: tuple[int, int], data: bytes) -> Request:
    return request(Kind.COMMIT, data=data)._replace(steps=b"".join(STEP.pack(*step) for step in steps))


def test_a_commit_is_one_request_of_several_steps(descriptor: int) -> None:
    thread = ImageThread(descriptor, array("Q", (0,)))
    thread.carry_out(commit((3, 1), (7, 2), (0, 0), (3, 1), (0, 0), data=b"a" * 512 + b"b" * 1024 + b"c" * 512))
    thread.carry_out(request(Kind.IN, 3, size=512))
    thread.begin()
    first, second = answers(thread, 2)
    assert (first.outcome, first.data, second.data) == (Outcome.OK, ENDED.pack(5), b"c" * 512)
    assert os.pread(descriptor, 1024, 7 * 512) == b"b" * 1024
    thread.close()


def test_a_commit_ends_with_the_step_that_fails(tmp_path: Path, descriptor: int) -> None:
    reading = os.open(tmp_path / "image", os.O_RDONLY)
    thread = ImageThread(reading, array("Q", (0,)))
    thread.carry_out(commit((0, 0), (3, 1), (0, 0), data=b"a" * 512))
    thread.begin()
    (answer,) = answers(thread, 1)
    assert (answer.outcome, answer.data) == (Outcome.IOERR, ENDED.pack(1))
    thread.close()
    os.close(reading)
    assert os.pread(descriptor, 512, 3 * 512) == bytes(512)


@pytest.mark.parametrize(
    ("steps", "data"),
    [
        (STEP.pack(3, 2), b"a" * 512),
        (STEP.pack(3, 1), b"a" * 1024),
        (STEP.pack(3, 1), b"a" * 513),
        (STEP.pack(3, 1 << 55), b""),  # more bytes than a number has room for
        (STEP.pack(3, 1)[:-1], b"a" * 512),
    ],
)
def test_steps_that_are_not_the_data_s_are_refused(descriptor: int, steps: bytes, data: bytes) -> None:
    thread = ImageThread(descriptor, array("Q", (0,)))
    with pytest.raises(ValueError, match="whose sectors are those of the data"):
        thread.carry_out(request(Kind.COMMIT, data=data)._replace(steps=steps))
    thread.close()
