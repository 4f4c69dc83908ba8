"""The bulk ring: what goes in comes out, nobody sleeps through a signal, and a hostile peer gets nowhere."""

from __future__ import annotations

import pickle
import random
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import pytest

from libsel4py.abi import Rights
from libsel4py.bell import Bell
from libsel4py.bulk import (
    ENTRIES,
    ENTRY,
    PRODUCED,
    WANTED,
    Consumer,
    HostilePeer,
    Layout,
    Piece,
    Producer,
    RingStatistics,
)
from libsel4py.dataspace import DataSpace
from libsel4py.errors import Timeout, VMFault
from libsel4py.mapping import Mapping
from libsel4py.testing import TestSystem, in_background

PATIENCE = 20.0
LAYOUT = Layout(buffers=4, buffer_bytes=100)


@dataclass
class Ring:
    """Both sides in one memory, and how often each was signalled."""

    mapping: Mapping
    layout: Layout
    signals: dict[str, int] = field(default_factory=lambda: {"producer": 0, "consumer": 0})

    def __post_init__(self) -> None:
        self.producer = Producer(self.mapping, self.layout, lambda: self._signal("consumer"))
        self.consumer = Consumer(self.mapping, self.layout, lambda: self._signal("producer"))

    def _signal(self, who: str) -> None:
        self.signals[who] += 1

    def send(self, data: bytes, tag: int = 0) -> None:
        buffer = self.producer.acquire_nowait()
        assert buffer is not None
        buffer.view[: len(data)] = data
        self.producer.submit(buffer, len(data), tag=tag)

    def forge(self, queue: int, produced: int, *entries: tuple[int, int, int, int]) -> None:
        """Write what a peer could write."""
        for index, entry in enumerate(entries):
            self.mapping.write(queue + ENTRIES + index * ENTRY.size, ENTRY.pack(*entry))
        self.mapping.store_word(queue + PRODUCED, produced)


@pytest.fixture
def make(fake: TestSystem) -> Callable[[Layout], Ring]:
    def ring(layout: Layout) -> Ring:
        return Ring(DataSpace.allocate(layout.size).attach(), layout)

    return ring


@pytest.fixture
def ring(make: Callable[[Layout], Ring]) -> Ring:
    return make(LAYOUT)


@pytest.mark.parametrize("buffers", [1, 2, 3, 64, 1000])
@pytest.mark.parametrize("size", [1, 64, 1500, 1 << 20])
def test_nothing_of_a_layout_overlaps(buffers: int, size: int) -> None:
    layout = Layout(buffers, size)
    queue_bytes = ENTRIES + layout.entries * ENTRY.size
    assert layout.entries >= buffers
    assert layout.entries & layout.entries - 1 == 0
    assert layout.active + queue_bytes <= layout.free
    assert layout.free + queue_bytes <= layout.data
    assert layout.data % 4096 == 0
    assert all(layout.offset(number) + size <= layout.offset(number + 1) for number in range(buffers))
    assert layout.offset(buffers - 1) + size <= layout.size
    assert layout.stride % 64 == 0


@pytest.mark.parametrize(("buffers", "size"), [(0, 1), (1, 0), (65537, 1), (1, (1 << 31) + 1)])
def test_impossible_layouts_are_refused(buffers: int, size: int) -> None:
    with pytest.raises(ValueError, match="a ring has 1 to 65536 buffers"):
        Layout(buffers, size)


def test_memory_that_does_not_fit_is_refused(fake: TestSystem) -> None:
    with DataSpace.allocate(4096) as short, DataSpace.allocate(LAYOUT.size) as space:
        mapping, readable = short.attach(), space.attach(Rights.READ)
        for side in (Producer, Consumer):
            with pytest.raises(ValueError, match="needs 4608 bytes of memory, and the mapping has 4096"):
                side(mapping, LAYOUT, lambda: None)
            with pytest.raises(ValueError, match="written by both sides"):
                side(readable, LAYOUT, lambda: None)


def test_pieces_arrive_in_order_and_in_place(ring: Ring) -> None:
    ring.send(b"first", tag=7)
    ring.send(b"second")
    first, second = ring.consumer.take_nowait()
    assert (bytes(first.view), first.tag, bytes(second.view)) == (b"first", 7, b"second")
    ring.mapping.write(ring.layout.offset(second.number), b"S")
    assert bytes(second.view) == b"Second"  # the memory itself
    assert ring.consumer.copy(second) == b"Second"
    ring.consumer.release(second, first)
    assert ring.consumer.take_nowait() == []


def test_all_buffers_are_used_and_come_back_in_any_order(ring: Ring) -> None:
    for number in range(4):
        ring.send(b"%d" % number)
    assert ring.producer.acquire_nowait() is None
    pieces = ring.consumer.take_nowait()
    ring.consumer.release(pieces[2])
    back = ring.producer.acquire_nowait()
    assert back is not None
    assert back.number == pieces[2].number
    assert ring.producer.acquire_nowait() is None
    ring.producer.give_back(back)
    ring.consumer.release(pieces[3], pieces[0])
    ring.consumer.release(pieces[1])
    assert sum(ring.producer.acquire_nowait() is not None for _ in range(9)) == 4


def test_a_random_exchange_loses_nothing(make: Callable[[Layout], Ring]) -> None:
    chooser = random.Random(17)
    for buffers in (1, 3, 4, 7):
        ring = make(Layout(buffers, 64))
        sent, arrived, held = [], [], list[Piece]()
        for number in range(1500):
            match chooser.randrange(3):
                case 0:
                    buffer = ring.producer.acquire_nowait()
                    if buffer is not None:
                        data = chooser.randbytes(chooser.randrange(65))
                        start = chooser.randrange(65 - len(data))
                        buffer.view[start : start + len(data)] = data
                        ring.producer.submit(buffer, len(data), start, number)
                        sent.append((data, number))
                case 1:
                    pieces = ring.consumer.take_nowait(chooser.randint(1, 5))
                    arrived += [(bytes(piece.view), piece.tag) for piece in pieces]
                    held += pieces
                case 2 if held:
                    ring.consumer.release(held.pop(chooser.randrange(len(held))))
        arrived += [(bytes(piece.view), piece.tag) for piece in ring.consumer.take_nowait()]
        assert arrived == sent
        assert len(sent) > 100


def test_many_pieces_are_submitted_at_once(ring: Ring) -> None:
    assert ring.consumer.arm(at_least=3)
    buffers = [ring.producer.acquire_nowait() for _ in range(3)]
    ring.producer.submit_all([(buffer, 1) for buffer in buffers if buffer is not None], tag=5)
    ring.producer.submit_all([])
    assert [piece.tag for piece in ring.consumer.take_nowait()] == [5, 5, 5]
    assert ring.signals == {"producer": 0, "consumer": 1}


# --- what its own side does wrong


def test_of_many_those_before_the_one_that_cannot_be_sent_are_sent(ring: Ring) -> None:
    """More than fits is said to be in the third. None of the buffers is lost."""
    buffers = [buffer for buffer in (ring.producer.acquire_nowait() for _ in range(4)) if buffer is not None]
    with pytest.raises(ValueError, match="not all in a buffer"):
        ring.producer.submit_all(zip(buffers, (1, 1, ring.layout.buffer_bytes + 1, 1), strict=True))
    assert [piece.number for piece in ring.consumer.take_nowait()] == [buffer.number for buffer in buffers[:2]]
    ring.producer.submit_all([(buffer, 1) for buffer in buffers[2:]])
    assert [piece.number for piece in ring.consumer.take_nowait()] == [buffer.number for buffer in buffers[2:]]


def test_a_view_ends_with_the_buffer(ring: Ring) -> None:
    buffer = ring.producer.acquire_nowait()
    assert buffer is not None
    array = pickle.PickleBuffer(buffer.view)  # holds the buffer as an array of numpy does
    with pytest.raises(BufferError):
        ring.producer.submit(buffer, 1)
    array.release()
    ring.producer.submit(buffer, 1)
    with pytest.raises(ValueError, match="released"):
        buffer.view[0] = 1
    with pytest.raises(ValueError, match="is at the consumer"):
        ring.producer.submit(buffer, 1)
    (piece,) = ring.consumer.take_nowait()
    array = pickle.PickleBuffer(piece.view)
    with pytest.raises(BufferError):
        ring.consumer.release(piece)
    array.release()
    ring.consumer.release(piece)
    with pytest.raises(ValueError, match="released already"):
        ring.consumer.release(piece)


@pytest.mark.parametrize(
    ("length", "start", "tag"), [(101, 0, 0), (100, 1, 0), (-1, 0, 0), (1, -1, 0), (1, 0, 1 << 32)]
)
def test_bytes_outside_of_the_buffer_are_not_sent(ring: Ring, length: int, start: int, tag: int) -> None:
    buffer = ring.producer.acquire_nowait()
    assert buffer is not None
    with pytest.raises(ValueError, match="are not all in a buffer of 100"):
        ring.producer.submit(buffer, length, start, tag)
    ring.producer.submit(buffer, 100)


def test_a_side_without_sleep_does_not_wait(ring: Ring) -> None:
    with pytest.raises(ValueError, match="made without sleep="):
        ring.consumer.take()


def test_closing_lets_the_memory_go(fake: TestSystem) -> None:
    with DataSpace.allocate(LAYOUT.size) as space:
        ring = Ring(space.attach(), LAYOUT)
        with pytest.raises(BufferError):
            space.detach()
        ring.producer.close()
        ring.consumer.close()


# --- signals


def test_who_is_awake_is_not_signalled(ring: Ring) -> None:
    for _ in range(50):
        ring.send(b"x")
        ring.consumer.release(*ring.consumer.take_nowait())
    assert ring.signals == {"producer": 0, "consumer": 0}


def test_who_sleeps_is_signalled_once_and_not_too_early(ring: Ring) -> None:
    assert ring.consumer.arm(at_least=2)
    ring.send(b"1")
    assert ring.signals["consumer"] == 0
    ring.send(b"2")
    ring.send(b"3")
    assert ring.signals["consumer"] == 1
    assert not ring.consumer.arm(at_least=3)
    pieces = ring.consumer.take_nowait()
    ring.send(b"4")
    assert ring.signals["consumer"] == 1
    assert ring.producer.arm(at_least=4)
    ring.consumer.release(*pieces)
    assert ring.signals["producer"] == 0
    ring.consumer.release(*ring.consumer.take_nowait())
    assert ring.signals["producer"] == 1
    assert ring.producer.statistics() == RingStatistics(sent=4, received=0, buffers=0, wakes=1, sleeps=0)
    assert ring.consumer.statistics() == RingStatistics(sent=4, received=4, buffers=0, wakes=1, sleeps=0)
    held = ring.producer.acquire_nowait()
    assert held is not None
    ring.producer.submit(held, 0)
    ring.consumer.take_nowait()
    assert ring.producer.statistics() == RingStatistics(sent=5, received=4, buffers=3, wakes=1, sleeps=0)
    assert ring.consumer.statistics() == RingStatistics(sent=4, received=5, buffers=1, wakes=1, sleeps=0)


def test_what_came_before_one_falls_asleep_is_seen(ring: Ring) -> None:
    ring.send(b"early")
    assert not ring.consumer.arm()
    assert ring.mapping.load_word(ring.layout.active + WANTED) == 0
    assert ring.signals["consumer"] == 0


def test_a_wait_ends_in_time_and_leaves_nothing_announced(fake: TestSystem) -> None:
    with Bell.allocate() as bell, DataSpace.allocate(LAYOUT.size) as space:
        consumer = Consumer(space.attach(), LAYOUT, lambda: None, bell.wait)
        for timeout in (0, 0.01):
            with pytest.raises(Timeout):
                consumer.take(timeout)
        assert consumer.mapping.load_word(LAYOUT.active + WANTED) == 0
        assert consumer.statistics().sleeps == 1  # without time left nobody sleeps
        consumer.close()


@pytest.mark.parametrize("at_least", [1, 3])
@pytest.mark.parametrize("buffers", [3, 8])
def test_two_threads_transfer_and_sleep(fake: TestSystem, buffers: int, at_least: int) -> None:
    """Whoever has nothing to do sleeps on its bell, so a signal that got lost would end this by its time limit."""
    layout = Layout(buffers, 64)
    pieces, total = 3000, 0
    with Bell.allocate() as full, Bell.allocate() as empty, DataSpace.allocate(layout.size) as space:
        mapping = space.attach()
        producer = Producer(mapping, layout, full.peer.signal, empty.wait)
        consumer = Consumer(mapping, layout, empty.peer.signal, full.wait)

        def produce() -> None:
            for number in range(pieces):
                buffer = producer.acquire(PATIENCE, at_least)
                buffer.view[:8] = number.to_bytes(8, "little")
                producer.submit(buffer, 8, tag=number)

        producing = in_background(produce)
        while total < pieces:
            for piece in consumer.take(PATIENCE):
                assert (int.from_bytes(piece.view, "little"), piece.tag) == (total, total)
                total += 1
                consumer.release(piece)
        producing.result(PATIENCE)
        producer.close()
        consumer.close()


def test_send_fills_as_many_buffers_as_it_needs(fake: TestSystem) -> None:
    data = bytes(index % 251 for index in range(12_345))
    with Bell.allocate() as full, Bell.allocate() as empty, DataSpace.allocate(LAYOUT.size) as space:
        producer = Producer(space.attach(), LAYOUT, full.peer.signal, empty.wait)
        mapping = space.mapping
        assert mapping is not None
        consumer = Consumer(mapping, LAYOUT, empty.peer.signal, full.wait)
        sending = in_background(producer.send, data, 3, PATIENCE)
        arrived = bytearray()
        while len(arrived) < len(data):
            for piece in consumer.take(PATIENCE):
                arrived += piece.view
                consumer.release(piece)
        sending.result(PATIENCE)
        assert arrived == data
        producer.close()
        consumer.close()


# --- hostile peers


@pytest.mark.parametrize(
    "entry",
    [(4, 0, 1, 0), (0xFFFFFFFF, 0, 0, 0), (0, 0, 101, 0), (0, 100, 1, 0), (0, 0xFFFFFFFF, 1, 0), (1, 1, 0xFFFFFFFF, 0)],
)
def test_a_descriptor_outside_of_the_buffers_is_refused(ring: Ring, entry: tuple[int, int, int, int]) -> None:
    ring.forge(ring.layout.active, 1, entry)
    with pytest.raises(HostilePeer, match="the producer sent"):
        ring.consumer.take_nowait()


def test_a_buffer_that_is_sent_twice_is_refused(ring: Ring) -> None:
    ring.forge(ring.layout.active, 2, (1, 0, 1, 0), (1, 0, 1, 0))
    with pytest.raises(HostilePeer, match="has already"):
        ring.consumer.take_nowait()


@pytest.mark.parametrize("produced", [5, 1 << 32, (1 << 64) - 1])
def test_an_impossible_index_is_refused(ring: Ring, produced: int) -> None:
    for queue, look in (
        (ring.layout.active, ring.consumer.take_nowait),
        (ring.layout.active, ring.consumer.arm),
        (ring.layout.free, lambda: [ring.producer.acquire_nowait() for _ in range(5)]),
    ):
        ring.forge(queue, produced)
        with pytest.raises(HostilePeer, match=f"went from 0 to {produced}"):
            look()


def test_an_index_that_goes_back_is_refused(ring: Ring) -> None:
    ring.send(b"1")
    ring.send(b"2")
    assert len(ring.consumer.take_nowait(1)) == 1
    ring.forge(ring.layout.active, 1)
    with pytest.raises(HostilePeer, match="went from 2 to 1"):
        ring.consumer.take_nowait()


@pytest.mark.parametrize("number", [0, 3, 4, 0xFFFFFFFF])
def test_a_buffer_that_the_consumer_has_not_is_not_taken_from_it(ring: Ring, number: int) -> None:
    held = [ring.producer.acquire_nowait() for _ in range(4)]
    assert held[3] is not None
    ring.forge(ring.layout.free, 1, (number, 0, 0, 0))
    with pytest.raises(HostilePeer, match=f"gave back buffer {number}"):
        ring.producer.acquire_nowait()


def test_a_buffer_is_not_taken_back_twice(ring: Ring) -> None:
    for _ in range(4):
        ring.send(b"x")
    ring.forge(ring.layout.free, 2, (2, 0, 0, 0), (2, 0, 0, 0))
    with pytest.raises(HostilePeer, match="gave back buffer 2"):
        ring.producer.acquire_nowait()


@pytest.mark.parametrize("wanted", [1, 2, (1 << 64) - 1])
def test_a_wish_costs_a_signal_at_most(ring: Ring, wanted: int) -> None:
    """Whatever the peer writes there, it is its own sleep that it spoils."""
    ring.mapping.store_word(ring.layout.active + WANTED, wanted)
    for number in range(3):
        ring.send(b"%d" % number)
    assert ring.signals["consumer"] <= 1
    assert len(ring.consumer.take_nowait()) == 3


def test_random_bytes_in_all_of_the_queues_never_lead_outside(make: Callable[[Layout], Ring]) -> None:
    chooser = random.Random(23)
    for _ in range(100):
        ring = make(Layout(4, 64))
        ring.send(b"before")
        for queue in (ring.layout.active, ring.layout.free):
            ring.mapping.write(queue, chooser.randbytes(ENTRIES + 64))
            ring.mapping.store_word(queue + PRODUCED, chooser.randrange(6))
        with suppress(HostilePeer):
            assert len(ring.consumer.take_nowait()) <= 4
        with suppress(HostilePeer):
            assert None in [ring.producer.acquire_nowait() for _ in range(5)]


def test_data_that_changes_is_the_copys_no_more(ring: Ring) -> None:
    ring.send(b"once")
    (piece,) = ring.consumer.take_nowait()
    copied = ring.consumer.copy(piece)
    ring.mapping.write(ring.layout.offset(piece.number), b"anew")
    assert (copied, bytes(piece.view)) == (b"once", b"anew")


def test_memory_that_is_taken_away_raises_and_stops_nobody(fake: TestSystem) -> None:
    """The queues and `copy` are guarded: a server whose client revokes its ring goes on with the others."""
    with DataSpace.allocate(LAYOUT.size) as space:
        ring = Ring(space.attach(), LAYOUT)
        ring.send(b"here")
        (piece,) = ring.consumer.take_nowait()
        for frame in space.frames:
            frame.unmap()
        buffer = ring.producer.acquire_nowait()
        assert buffer is not None
        for use in (
            ring.consumer.take_nowait,
            ring.consumer.arm,
            lambda: ring.consumer.copy(piece),
            lambda: ring.consumer.release(piece),
            lambda: ring.producer.submit(buffer, 1),
        ):
            with pytest.raises(VMFault):
                use()
        ring.producer.close()
        ring.consumer.close()


def test_a_bell_is_rung_and_no_more(fake: TestSystem) -> None:
    objects = fake.kernel.objects
    before = set(objects.caps), fake.slots.free_count
    with Bell.allocate() as bell:
        assert objects.caps[bell.peer.cptr].rights == Rights.WRITE
        waiting = threading.Thread(target=bell.wait, args=(PATIENCE,))
        waiting.start()
        bell.peer.signal()
        waiting.join(PATIENCE)
        assert not waiting.is_alive()
        with pytest.raises(Timeout):
            bell.wait(0)
    assert (set(objects.caps), fake.slots.free_count) == before
