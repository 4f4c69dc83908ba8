"""Bulk transfer without copying: buffers in shared memory go from one producer to one consumer, and back.

    producer = Producer(space.attach(), layout, wake=peer.signal, sleep=own.wait)      # and a Consumer likewise
    buffer = producer.acquire()                        # waits for a free one
    buffer.view[:5] = b"hello"                         # in place
    producer.submit(buffer, 5)

    for piece in consumer.take():                      # waits for some
        work(piece.view)                               # in place
        consumer.release(piece)

The rules are sDDF's, in shared memory of `Layout.size` bytes: a row of buffers, of one size each, and two queues of
descriptors. The *active* queue brings filled buffers to the consumer, the *free* queue brings them back. Each word has
one writer; a queue's writer publishes its index after the entries (release), its reader loads it before them (acquire).

    queue       0   produced: u64, free-running; the writer's
               64   wanted: u64, the reader's: 0 while it is awake; else it sleeps until `produced` is that
              128   entries of 16 bytes: buffer number, start in the buffer, length, tag, each u32

Who is asleep is woken when as much is there as it waits for, and only then: it says that it will sleep, looks once
more, and sleeps, while the other publishes first and then looks whether somebody sleeps. So a side that keeps up is
never signalled. Before it sleeps a side looks for as long as that has paid lately, 100 microseconds at most.

Rules. A side keeps to itself how far it has read and which buffers it holds, and so never needs a word of the other's
to be right. A descriptor is copied once, and the copy is checked: `HostilePeer` is raised for a buffer that does not
exist or is not the peer's to give, and for bytes outside of it. A hostile producer can spoil its own data and nothing
more; it can also change data while the consumer reads it in place, as any memory that is shared: what has to be the
same twice is copied first (`Consumer.copy`). A thread at a time uses a side; either side may be a thread of any task.
"""

from __future__ import annotations

import struct
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple

from libsel4py.errors import ServiceError, Timeout
from libsel4py.mapping import Mapping

LINE_BYTES: Final = 64
PAGE_BYTES: Final = 4096
ENTRY: Final = struct.Struct("<4I")
PRODUCED: Final = 0
WANTED: Final = LINE_BYTES
ENTRIES: Final = 2 * LINE_BYTES
LOOK_LEAST_NS: Final = 2_000
LOOK_MOST_NS: Final = 100_000  # about what going to sleep and being woken costs both sides
MOST_BUFFERS: Final = 1 << 16
MOST_BUFFER_BYTES: Final = 1 << 31
_MASK: Final = (1 << 64) - 1

Wake = Callable[[], object]  # signal the other side; most often `Notification.signal`
Sleep = Callable[[float | None], object]  # wait for its signal, for so many seconds; most often `Notification.wait`


class HostilePeer(ServiceError):
    """The other side of a ring does not keep to its rules. The ring is of no use any more."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where things lie in a ring's memory. Both sides agree on it, best as arguments of the method that hands it over.

    Attributes:
        buffers: how many, 1 to 65536. buffer_bytes: of each, 1 to 2**31; each begins at a multiple of 64.
    Raises:
        ValueError: out of these bounds.
    """

    buffers: int
    buffer_bytes: int

    def __post_init__(self) -> None:
        if not 1 <= self.buffers <= MOST_BUFFERS or not 1 <= self.buffer_bytes <= MOST_BUFFER_BYTES:
            raise ValueError(
                f"a ring has 1 to {MOST_BUFFERS} buffers of 1 to {MOST_BUFFER_BYTES} bytes, and not "
                f"{self.buffers} of {self.buffer_bytes}"
            )

    @property
    def entries(self) -> int:
        """Of each queue: a power of two, no fewer than there are buffers, so that a queue is never too full."""
        return 1 << (self.buffers - 1).bit_length()

    @property
    def active(self) -> int:
        """Offset of the queue to the consumer."""
        return 0

    @property
    def free(self) -> int:
        """Offset of the queue to the producer."""
        return _up(ENTRIES + self.entries * ENTRY.size, LINE_BYTES)

    @property
    def data(self) -> int:
        """Offset of the first buffer: a page's beginning."""
        return _up(2 * self.free, PAGE_BYTES)

    @property
    def stride(self) -> int:
        """From one buffer to the next."""
        return _up(self.buffer_bytes, LINE_BYTES)

    @property
    def size(self) -> int:
        """Bytes of memory that the ring needs."""
        return self.data + self.buffers * self.stride

    def offset(self, buffer: int) -> int:
        """Where a buffer begins in the mapping."""
        return self.data + buffer * self.stride


class Buffer(NamedTuple):
    """A free buffer, the producer's to fill. ``view`` is all of it, in place, until it is submitted."""

    number: int
    view: memoryview


class Piece(NamedTuple):
    """Data that has arrived, the consumer's until it releases it. ``view`` is in place, ``tag`` the producer's."""

    number: int
    view: memoryview
    tag: int
    start: int  # in the buffer


@dataclass(frozen=True, slots=True)
class RingStatistics:
    """What one side of a ring has done and has.

    Attributes:
        sent, received: buffers, in all: the producer sends full ones and receives free ones, the consumer the other way
            round. buffers: that lie at this side: a producer's free and acquired ones, a consumer's that it has not
            released. wakes: signals to the other side. sleeps: waits of `acquire` and `take` for the other side's.
    """

    sent: int
    received: int
    buffers: int
    wakes: int
    sleeps: int


class _Where(Enum):
    """A buffer's place, as the producer knows it."""

    FREE = "free"
    HELD = "acquired"
    AWAY = "at the consumer"


class _Writer:
    """The writing end of a queue."""

    def __init__(self, mapping: Mapping, queue: int, entries: int, wake: Wake) -> None:
        self._mapping, self._queue, self._entries, self._wake = mapping, queue, entries, wake
        self._produced = 0
        self._woken = 0  # for which wish of the reader's it was woken last
        self.wakes = 0

    @property
    def sent(self) -> int:
        return self._produced

    def put(self, descriptors: bytes, count: int) -> None:
        """Publish packed descriptors. There is room: a queue has an entry for each buffer."""
        first = self._produced % self._entries
        fitting = min(count, self._entries - first) * ENTRY.size
        start = self._queue + ENTRIES
        self._mapping.write(start + first * ENTRY.size, descriptors[:fitting])
        if fitting < len(descriptors):
            self._mapping.write(start, descriptors[fitting:])
        self._produced += count
        wanted = self._mapping.store_then_load(self._queue + PRODUCED, self._produced, self._queue + WANTED)
        if wanted and self._produced >= wanted != self._woken:
            self._woken = wanted
            self.wakes += 1
            self._wake()


class _Reader:
    """The reading end of a queue."""

    def __init__(self, mapping: Mapping, queue: int, entries: int, sleep: Sleep | None) -> None:
        self._mapping, self._queue, self._entries, self._sleep = mapping, queue, entries, sleep
        self._taken = 0
        self._produced = 0  # as seen last
        self._is_announced = False
        self._look_ns = LOOK_MOST_NS
        self.sleeps = 0

    @property
    def received(self) -> int:
        return self._taken

    def get(self, most: int) -> list[tuple[int, int, int, int]]:
        """Copies of up to ``most`` descriptors. Raises HostilePeer."""
        if self._produced - self._taken < most:
            self._look(self._mapping.load_word(self._queue + PRODUCED))
        count = min(most, self._produced - self._taken)
        if not count:
            return []
        first = self._taken % self._entries
        fitting = min(count, self._entries - first)
        start = self._queue + ENTRIES
        data = self._mapping.read(start + first * ENTRY.size, fitting * ENTRY.size)
        if fitting < count:
            data += self._mapping.read(start, (count - fitting) * ENTRY.size)
        self._taken += count
        return list(ENTRY.iter_unpack(data))

    def arm(self, at_least: int) -> bool:
        """Say that this side will sleep until so many descriptors are there. False: they are, and it is awake."""
        if self._produced - self._taken < at_least:
            wanted = self._taken + at_least
            self._is_announced = True
            self._look(self._mapping.store_then_load(self._queue + WANTED, wanted, self._queue + PRODUCED))
            if self._produced < wanted:
                return True
        self.disarm()
        return False

    def disarm(self) -> None:
        """Say that this side is awake."""
        if self._is_announced:
            self._mapping.store_word(self._queue + WANTED, 0)
            self._is_announced = False

    def wait(self, at_least: int, timeout: float | None) -> None:
        """Return when so many descriptors are there. Raises Timeout."""
        if self._sleep is None:
            raise ValueError(
                "this side was made without sleep=: it cannot wait by itself; use the forms _nowait and arm"
            )
        deadline = None if timeout is None else time.monotonic() + timeout
        began = time.perf_counter_ns()
        if self._comes_soon(at_least):
            return
        try:
            while self.arm(at_least):
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    raise Timeout(f"the other side of the ring gave fewer than {at_least} in time")
                self.sleeps += 1
                self._sleep(left)
        finally:
            self.disarm()
        if time.perf_counter_ns() - began < 2 * LOOK_MOST_NS:  # awake again so soon: looking would have paid
            self._look_ns = LOOK_MOST_NS

    def _comes_soon(self, at_least: int) -> bool:
        """Look for a while: twice as long next time where it has paid, half as long where not."""
        clock, wanted, load = time.perf_counter_ns, self._taken + at_least, self._mapping.load_word
        end = clock() + self._look_ns
        while self._produced < wanted and clock() < end:
            self._look(load(self._queue + PRODUCED))
        if self._produced >= wanted:
            self._look_ns = min(2 * self._look_ns, LOOK_MOST_NS)
            return True
        self._look_ns = max(self._look_ns // 2, LOOK_LEAST_NS)
        return False

    def _look(self, produced: int) -> None:
        if not 0 <= produced - self._taken <= self._entries or produced < self._produced:
            raise HostilePeer(
                f"the queue's index went from {self._produced} to {produced}, with {self._taken} taken of "
                f"{self._entries} entries"
            )
        self._produced = produced


class _Side:
    """What both sides have: the memory, and a view of each buffer."""

    def __init__(self, mapping: Mapping, layout: Layout) -> None:
        if mapping.size < layout.size:
            raise ValueError(f"this ring needs {layout.size} bytes of memory, and the mapping has {mapping.size}")
        if not mapping.writable:
            raise ValueError("a ring's memory is written by both sides: attach it with the Write right")
        self.layout = layout
        self.mapping = mapping
        whole = memoryview(mapping)
        starts = [layout.offset(number) for number in range(layout.buffers)]
        self._views = [whole[start : start + layout.buffer_bytes] for start in starts]
        whole.release()

    def close(self) -> None:
        """Let go of the memory, so that its data space can be detached. The other side is not told."""
        for view in self._views:
            view.release()
        self._views.clear()


class Producer(_Side):
    """The side that fills buffers; all of them are free at first.

    Args:
        mapping: the ring's memory, zeroed when the first side is made. layout: where things are in it.
        wake: called to signal a consumer that sleeps. sleep: waits for the consumer's signal; None for a side that
            never waits by itself, but is called when the signal comes.
    Raises:
        ValueError: the mapping is too small, or read-only.
    """

    def __init__(self, mapping: Mapping, layout: Layout, wake: Wake, sleep: Sleep | None = None) -> None:
        super().__init__(mapping, layout)
        self._active = _Writer(mapping, layout.active, layout.entries, wake)
        self._returned = _Reader(mapping, layout.free, layout.entries, sleep)
        self._ready = deque(range(layout.buffers))
        self._where = [_Where.FREE] * layout.buffers

    def statistics(self) -> RingStatistics:
        here = sum(where is not _Where.AWAY for where in self._where)
        return _statistics(self._active, self._returned, here)

    def acquire_nowait(self) -> Buffer | None:
        """A free buffer, or None. It is the caller's until it is submitted. Raises HostilePeer, VMFault."""
        if not self._ready:
            self._collect()
        if not self._ready:
            return None
        number = self._ready.popleft()
        self._where[number] = _Where.HELD
        return Buffer(number, self._views[number][:])

    def acquire(self, timeout: float | None = None, at_least: int = 1) -> Buffer:
        """A free buffer; waits for one.

        Args:
            timeout: seconds. at_least: sleep until so many are free, if none is: fewer wake-ups. Only where the
                consumer never keeps so many that fewer are left.
        Raises:
            Timeout, HostilePeer, VMFault.
        """
        buffer = self.acquire_nowait()
        if buffer is None:
            self._returned.wait(at_least, timeout)
            self._collect()
            buffer = self.acquire_nowait()
            assert buffer is not None
        return buffer

    def submit(self, buffer: Buffer, length: int, start: int = 0, tag: int = 0) -> None:
        """Send ``length`` bytes from ``start`` on in a buffer, whose view ends. ``tag``: 32 bits that go with them.

        Raises:
            ValueError: the bytes are not in the buffer, or it is not the producer's, or the tag is too large.
            BufferError: an array of the buffer is still in use. VMFault.
        """
        self._active.put(self._entry(buffer, length, start, tag), 1)

    def submit_all(self, filled: Iterable[tuple[Buffer, int]], tag: int = 0, start: int = 0) -> None:
        """As `submit` for each buffer with its length, all from ``start`` on, and with one signal at most.

        Raises as `submit`; those before the one that cannot be sent are sent.
        """
        entries = []
        try:
            for buffer, length in filled:
                entries.append(self._entry(buffer, length, start, tag))
        finally:
            if entries:
                self._active.put(b"".join(entries), len(entries))

    def give_back(self, buffer: Buffer) -> None:
        """Put back a buffer that was acquired and is not needed. Raises as `submit`."""
        self._entry(buffer, 0, 0, 0)
        self._where[buffer.number] = _Where.FREE
        self._ready.appendleft(buffer.number)

    def send(self, data: bytes | bytearray | memoryview, tag: int = 0, timeout: float | None = None) -> None:
        """Copy bytes into as many buffers as they need, and submit these. Raises as `acquire`."""
        view, size = memoryview(data).cast("B"), self.layout.buffer_bytes
        for first in range(0, len(view), size):
            part = view[first : first + size]
            buffer = self.acquire(timeout)
            buffer.view[: len(part)] = part
            self.submit(buffer, len(part), 0, tag)

    def arm(self, at_least: int = 1) -> bool:
        """For who is called when the signal comes: True if it will, once so many are free; False: acquire now."""
        return not self._ready and self._returned.arm(at_least)

    def _entry(self, buffer: Buffer, length: int, start: int, tag: int) -> bytes:
        """The descriptor of a buffer that goes away."""
        where = self._where[buffer.number]
        if where is not _Where.HELD:
            raise ValueError(f"buffer {buffer.number} is {where.value}: acquire one before it is submitted")
        if not 0 <= start <= start + length <= self.layout.buffer_bytes or not 0 <= tag < 1 << 32:
            raise ValueError(
                f"{length} bytes from {start} on are not all in a buffer of {self.layout.buffer_bytes}, or tag {tag} "
                "does not fit 32 bits"
            )
        buffer.view.release()
        self._where[buffer.number] = _Where.AWAY
        return ENTRY.pack(buffer.number, start, length, tag)

    def _collect(self) -> None:
        self._returned.disarm()
        for number, _, _, _ in self._returned.get(self.layout.entries):
            if number >= self.layout.buffers or self._where[number] is not _Where.AWAY:
                raise HostilePeer(f"the consumer gave back buffer {number}, which it did not have")
            self._where[number] = _Where.FREE
            self._ready.append(number)


class Consumer(_Side):
    """The side that takes what is filled. Arguments, errors: as `Producer`."""

    def __init__(self, mapping: Mapping, layout: Layout, wake: Wake, sleep: Sleep | None = None) -> None:
        super().__init__(mapping, layout)
        self._filled = _Reader(mapping, layout.active, layout.entries, sleep)
        self._free = _Writer(mapping, layout.free, layout.entries, wake)
        self._held = [False] * layout.buffers

    def statistics(self) -> RingStatistics:
        return _statistics(self._free, self._filled, sum(self._held))

    def take_nowait(self, most: int = MOST_BUFFERS) -> list[Piece]:
        """What has arrived, in order, up to ``most`` pieces. Raises HostilePeer, VMFault."""
        self._filled.disarm()
        pieces = []
        size, views, held = self.layout.buffer_bytes, self._views, self._held
        for number, start, length, tag in self._filled.get(most):
            if number >= len(views) or held[number] or start + length > size:
                raise HostilePeer(
                    f"the producer sent {length} bytes from {start} on in buffer {number} of {len(views)}, which has "
                    f"{size}, or which the consumer has already"
                )
            held[number] = True
            pieces.append(Piece(number, views[number][start : start + length], tag, start))
        return pieces

    def take(self, timeout: float | None = None, at_least: int = 1, most: int = MOST_BUFFERS) -> list[Piece]:
        """What has arrived; waits for it.

        Args:
            timeout: seconds. at_least: sleep until so many pieces are there, if none is: fewer wake-ups. Only where
                the producer sends so many without waiting for them to come back.
        Raises:
            Timeout, HostilePeer, VMFault.
        """
        pieces = self.take_nowait(most)
        if not pieces:
            self._filled.wait(at_least, timeout)
            pieces = self.take_nowait(most)
        return pieces

    def release(self, *pieces: Piece) -> None:
        """Give buffers back, in any order and with one signal at most for all; their views end.

        Raises:
            ValueError: the consumer has one of them not. BufferError: an array of one is still in use. Those before it
                are given back. VMFault.
        """
        entries = []
        try:
            for piece in pieces:
                if not self._held[piece.number]:
                    raise ValueError(f"buffer {piece.number} was released already")
                piece.view.release()
                self._held[piece.number] = False
                entries.append(ENTRY.pack(piece.number, 0, 0, 0))
        finally:
            if entries:
                self._free.put(b"".join(entries), len(entries))

    def copy(self, piece: Piece) -> bytes:
        """A piece's bytes, guarded: for memory that its giver may take away. Raises VMFault."""
        return self.mapping.read(self.layout.offset(piece.number) + piece.start, len(piece.view))

    def arm(self, at_least: int = 1) -> bool:
        """For who is called when the signal comes: True if it will, once so many pieces are there; False: take now."""
        return self._filled.arm(at_least)


def _statistics(writer: _Writer, reader: _Reader, buffers: int) -> RingStatistics:
    return RingStatistics(writer.sent, reader.received, buffers, writer.wakes, reader.sleeps)


def _up(size: int, unit: int) -> int:
    return -(-size // unit) * unit
