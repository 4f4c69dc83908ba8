"""The driver's side of a split queue: what lies in memory, and what a hostile device can say."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libsel4py.dataspace import DataSpace
from libsel4py.mapping import Mapping
from libsel4py.testing import system
from libsel4py.virtio import DriverQueue, HostileDevice, QueueFull, Segment

SIZE = 8
HEADER, DATA, STATUS = Segment(0x1000, 16), Segment(0x2000, 512), Segment(0x3000, 1)


class Device:
    """The other side, which reads and writes the memory itself."""

    def __init__(self, mapping: Mapping) -> None:
        self.mapping = mapping
        self.index = 0

    def available(self) -> list[int]:
        at = DriverQueue.available_offset(SIZE)
        (index,) = struct.unpack("<H", self.mapping.read(at + 2, 2))
        heads = struct.unpack(f"<{SIZE}H", self.mapping.read(at + 4, 2 * SIZE))
        return [heads[each % SIZE] for each in range(max(0, index - SIZE), index)]

    def descriptor(self, number: int) -> tuple[int, int, int, int]:
        address, size, flags, following = struct.unpack("<QIHH", self.mapping.read(16 * number, 16))
        return address, size, flags, following

    def use(self, head: int, written: int) -> None:
        at = DriverQueue.used_offset(SIZE)
        self.mapping.write(at + 4 + 8 * (self.index % SIZE), struct.pack("<II", head, written))
        self.index = (self.index + 1) % (1 << 16)
        self.mapping.write(at + 2, struct.pack("<H", self.index))


@pytest.fixture
def mapping() -> Iterator[Mapping]:
    with system(), DataSpace.allocate(4096) as space:
        yield space.attach()


def test_a_request_is_a_chain_that_is_published_once(mapping: Mapping) -> None:
    queue, device = DriverQueue[str](mapping, SIZE), Device(mapping)
    queue.add((HEADER,), (DATA, STATUS), "first")
    assert device.available() == []
    assert queue.publish()
    assert not queue.publish()
    (head,) = device.available()
    address, size, flags, following = device.descriptor(head)
    assert (address, size, flags) == (*HEADER, 1)
    address, size, flags, following = device.descriptor(following)
    assert (address, size, flags) == (*DATA, 3)
    assert device.descriptor(following) == (*STATUS, 2, 0)
    device.use(head, 513)
    assert queue.used() == [("first", 513)]
    assert (queue.free, queue.pending, queue.used()) == (SIZE, 0, [])


def test_a_device_that_looks_by_itself_is_not_notified(mapping: Mapping) -> None:
    queue = DriverQueue[int](mapping, SIZE)
    for flags, told in ((1, False), (0, True), (2, True)):
        mapping.write(DriverQueue.used_offset(SIZE), struct.pack("<H", flags))
        queue.add((HEADER,), (), flags)
        assert queue.publish() is told


def test_a_queue_goes_round_its_indices(mapping: Mapping) -> None:
    queue, device = DriverQueue[int](mapping, SIZE), Device(mapping)
    for number in range((1 << 16) + 5):
        queue.add((HEADER,), (), number)
        queue.publish()
        device.use(0, 0)
        assert queue.used() == [(number, 0)]


def test_a_full_queue_is_as_it_was(mapping: Mapping) -> None:
    queue = DriverQueue[int](mapping, SIZE)
    for number in range(2):
        queue.add((HEADER,), (DATA, STATUS), number)
    with pytest.raises(QueueFull, match="3 descriptors are needed, and 2 are free"):
        queue.add((HEADER,), (DATA, STATUS), 3)
    assert (queue.free, queue.pending) == (2, 2)


def test_who_wants_interrupts_is_told_what_is_there(mapping: Mapping) -> None:
    queue, device = DriverQueue[int](mapping, SIZE), Device(mapping)
    queue.add((HEADER,), (), 1)
    queue.publish()
    assert not queue.want_interrupts(True)
    device.use(0, 0)
    assert queue.want_interrupts(True)
    assert device.available() == [0], "the flags' word has the index and two heads in it as well"


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 600)), min_size=1, max_size=6), st.integers(0, 3))
def test_nonsense_of_a_device_loses_no_request(entries: list[tuple[int, int]], ahead: int) -> None:
    with system(), DataSpace.allocate(4096) as space:
        mapping = space.attach()
        queue, device = DriverQueue[int](mapping, SIZE), Device(mapping)
        given_heads = {0: 0, 3: 1}  # head: token
        for token in given_heads.values():
            queue.add((HEADER,), (DATA, STATUS), token)
        queue.publish()
        for entry in entries:
            device.use(*entry)
        if ahead:
            mapping.write(DriverQueue.used_offset(SIZE) + 2, struct.pack("<H", device.index + ahead))
        entries = [*entries, *[(0, 0)] * ahead]  # what lies there
        heads = [head for head, _ in entries]
        makes_sense = (
            set(heads) <= set(given_heads) and len(set(heads)) == len(heads)
            and all(written <= 513 for _, written in entries)
        )  # fmt: skip
        try:
            found = queue.used()
        except HostileDevice:
            assert not makes_sense
            assert sorted(queue.drain()) == [0, 1]
        else:
            assert makes_sense
            assert found == [(given_heads[head], written) for head, written in entries]
