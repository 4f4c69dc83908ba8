"""What must outlive this process of each TCP connection: a record of words, and the bytes that one side has sent and
the other has not. In a memfd, which who starts the process keeps, as it keeps the host's sockets (`kept_sockets`).

Rules. A record's `STATE` is stored last when it begins, and first when it ends. Each word is stored before anybody is
told what it says: before a segment with that acknowledgement is sent, before a byte's room is used again. What was
read from the host's socket and written to it since is not stored at all: the host's kernel has counted it
(`hw.devices.user_network.host_counts`).
"""

from __future__ import annotations

import mmap
import os
import struct
from typing import Final

from hw.iommu import Buffer

SLOTS: Final = 1024
RING_BYTES: Final = 1 << 20  # for each direction; it divides 2**32, so that a sequence number says where its byte is
_WORDS: Final = 32
_RECORD_BYTES: Final = 8 * _WORDS
_RINGS: Final = SLOTS * _RECORD_BYTES  # where they begin
MEMORY_BYTES: Final = _RINGS + SLOTS * 2 * RING_BYTES
_STAYS_BYTES: Final = 64 << 10  # of a ring that was used no further, which is left to the next connection as it is
_KEY: Final = struct.Struct("!B16sH16sH")

Key = tuple[bytes, int, bytes, int]  # the guest's address and port, the other's

# The words of a record. Numbers are sequence numbers, modulo 2**32.
STATE: Final = 0  # 0: no connection
OUR_FIRST: Final = 1  # of the bytes to the guest
ACKNOWLEDGED: Final = 2  # all before it the guest has
THEIR_FIRST: Final = 3  # of the guest's bytes
EXPECTED: Final = 4  # of the guest's next byte: all before it the guest was, or will be, told that we have
GUEST_ENDED: Final = 5
HOST_ENDED: Final = 6  # the host's socket has said so
TOUCHES: Final = 7  # the host's socket is being read or written: an error that it has told may be known to nobody
WINDOW: Final = 8  # the guest's, in bytes
GUEST_SCALE: Final = 9
OUR_SCALE: Final = 10  # and one; 0: none
MOST: Final = 11  # bytes of data in a segment
WRITTEN_BEFORE: Final = 12  # what the host's kernel had counted when the connection began
KEPT_AS: Final = 13  # the number that its socket is kept by
FIRST_STATE, LAST_STATE = 2, 4  # of `tcp_connection.State`: those that are stored
_SEQUENCE_NUMBERS: Final = (OUR_FIRST, ACKNOWLEDGED, THEIR_FIRST, EXPECTED)
_MASK: Final = 0xFFFF_FFFF
_MOST_SCALE: Final = 14  # RFC 7323, 2.3
_KEY_AT: Final = 8 * 16


class Ring:
    """The bytes of one direction, each where its sequence number says, from the direction's first one on: so the rings
    of short connections that have a slot one after the other are used at their beginning alone.

    ``first``: the word that is that number.
    """

    __slots__ = ("_bytes", "_first", "_words")

    def __init__(self, data: memoryview, words: memoryview, first: int) -> None:
        self._bytes = data
        self._words = words
        self._first = first

    def part(self, at: int, most: int) -> memoryview:
        """At most so many bytes from ``at`` on: fewer where the ring ends before."""
        begin = at - self._words[self._first] & RING_BYTES - 1
        return self._bytes[begin : min(begin + most, RING_BYTES)]

    def put(self, at: int, data: Buffer) -> None:
        left = memoryview(data)
        while left:
            part = self.part(at, len(left))
            part[:] = left[: len(part)]
            at, left = at + len(part), left[len(part) :]


class Slot:
    """One connection's record and rings. ``words``: the record, by the constants of this module."""

    def __init__(self, memory: ConnectionMemory, number: int) -> None:
        self.number = number
        self.words = memory.words[number * _WORDS : (number + 1) * _WORDS]
        begin = _RINGS + number * 2 * RING_BYTES
        middle = begin + RING_BYTES
        self.to_guest = Ring(memory.bytes[begin:middle], self.words, OUR_FIRST)
        self.to_host = Ring(memory.bytes[middle : middle + RING_BYTES], self.words, THEIR_FIRST)
        self._memory = memory

    @property
    def key(self) -> Key:
        size, guest, guest_port, other, other_port = _KEY.unpack_from(self._record, _KEY_AT)
        return guest[: min(size, 16)], guest_port, other[: min(size, 16)], other_port

    @key.setter
    def key(self, key: Key) -> None:
        guest, guest_port, other, other_port = key
        _KEY.pack_into(self._record, _KEY_AT, len(guest), guest, guest_port, other, other_port)

    def note_terms(self, most: int, scale: int | None, guest_scale: int) -> None:
        """Bytes of data in a segment, and the scales of both sides' windows; None: ours are not scaled."""
        self.words[MOST], self.words[GUEST_SCALE] = most, guest_scale
        self.words[OUR_SCALE] = 0 if scale is None else scale + 1

    def terms(self) -> tuple[int, int | None, int]:
        """As they were noted."""
        scale = self.words[OUR_SCALE]
        return self.words[MOST], scale - 1 if scale else None, self.words[GUEST_SCALE]

    def ensure_sound(self) -> None:
        """Raises ValueError: no life has left such a record."""
        most, scale, guest_scale = self.terms()
        sizes = {self._record[_KEY_AT], len(self.key[0]), len(self.key[2])}
        if sizes not in ({4}, {16}):
            raise ValueError(f"addresses of {sizes} bytes")
        if not FIRST_STATE <= self.words[STATE] <= LAST_STATE or not 0 < most < 1 << 16:
            raise ValueError(f"state {self.words[STATE]}, {most} bytes in a segment")
        if max(scale or 0, guest_scale) > _MOST_SCALE:
            raise ValueError(f"windows are scaled by {scale} and {guest_scale}")
        if any(self.words[each] >= 1 << 32 for each in _SEQUENCE_NUMBERS):
            raise ValueError("a sequence number has more than 32 bits")

    def where_the_guest_is(self) -> tuple[int, int]:
        """The number of the byte that it expects, as far as is known, and of its own next one."""
        words = self.words
        # Before all bytes is our SYN.
        fresh = words[ACKNOWLEDGED] - words[OUR_FIRST] & _MASK
        expects = words[OUR_FIRST] if fresh == _MASK else words[ACKNOWLEDGED]
        return expects, words[EXPECTED] + bool(words[GUEST_ENDED]) & _MASK

    @property
    def _record(self) -> memoryview:
        return self._memory.bytes[self.number * _RECORD_BYTES : (self.number + 1) * _RECORD_BYTES]


class ConnectionMemory:
    """All slots. ``descriptor``: a memfd of `MEMORY_BYTES`, which stays the caller's; None: one of this process's."""

    def __init__(self, descriptor: int | None = None) -> None:
        own = create_memory() if descriptor is None else None
        try:
            self._map = mmap.mmap(own if descriptor is None else descriptor, MEMORY_BYTES)  # type: ignore[arg-type]
        finally:
            if own is not None:
                os.close(own)
        self.bytes = memoryview(self._map)
        self.words = self.bytes[:_RINGS].cast("Q")
        self._free = [number for number in range(SLOTS - 1, -1, -1) if not self.words[number * _WORDS + STATE]]
        for number in self._free:  # a former life may have died before it gave the rings back
            self._map.madvise(mmap.MADV_REMOVE, _RINGS + number * 2 * RING_BYTES, 2 * RING_BYTES)

    def used(self) -> list[Slot]:
        """Those that a former life of this process has left."""
        return [Slot(self, number) for number in range(SLOTS) if self.words[number * _WORDS + STATE]]

    def take(self) -> Slot | None:
        """A slot that nobody has, all words 0, or None."""
        if not self._free:
            return None
        slot = Slot(self, self._free.pop())
        slot.words[:] = _EMPTY
        return slot

    def give_back(self, slot: Slot, sent: int, received: int) -> None:
        """``sent``, ``received``: bytes that went through the rings."""
        slot.words[STATE] = 0
        begin = _RINGS + slot.number * 2 * RING_BYTES
        for start, used in ((begin, sent), (begin + RING_BYTES, received)):
            if used > _STAYS_BYTES:
                self._map.madvise(mmap.MADV_REMOVE, start, RING_BYTES)
        self._free.append(slot.number)


_EMPTY: Final = memoryview(bytes(_RECORD_BYTES)).cast("Q")


def create_memory() -> int:
    """A memfd for a `ConnectionMemory`. It takes the host's memory page by page, as it is used."""
    made = os.memfd_create("sel4py-connections", os.MFD_CLOEXEC)
    os.truncate(made, MEMORY_BYTES)
    return made
