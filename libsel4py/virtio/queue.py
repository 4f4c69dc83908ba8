"""A split virtqueue, the driver's side: requests go to the device, and come back used.

Source: VIRTIO 1.2, section 2.7. The queue lies in `DriverQueue.bytes_of(size)` bytes of memory that both sides reach:

    0             descriptors, 16 bytes each: address, length, flags, next
    16 * size     available ring: flags, index, heads (the driver's)
    then, at 8    used ring: flags, index, head and bytes written each (the device's)

Rules. The device is hostile: what it writes is copied once and checked, and what it says of requests that it was never
given, or twice, is `HostileDevice`. The driver never reads its own part back. One thread at a time.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final, Generic, NamedTuple, TypeVar

from libsel4py.errors import ServiceError
from libsel4py.mapping import Mapping

Token = TypeVar("Token")

NEXT, WRITE = 1, 2
NO_INTERRUPT: Final = 1
NO_NOTIFY: Final = 1
MOST_ENTRIES: Final = 256
_DESCRIPTOR: Final = struct.Struct("<QIHH")
_ENTRY: Final = struct.Struct("<II")
_INDEX: Final = (1 << 16) - 1


class HostileDevice(ServiceError):
    """The device does not keep to the rules of its queue: reset it."""


class QueueFull(ServiceError):
    """There are not enough free descriptors."""


class Segment(NamedTuple):
    """A part of a request: an address of the IOSpace, and bytes."""

    address: int
    size: int


class _Pending(NamedTuple, Generic[Token]):
    """A request that the device has."""

    token: Token
    descriptors: list[int]
    writable: int  # bytes


class DriverQueue(Generic[Token]):
    """A queue of ``size`` descriptors (a power of two, at most 256), in zeroed memory.

    Args:
        mapping: where the task sees it, from ``offset`` (a multiple of 16) on.
    """

    def __init__(self, mapping: Mapping, size: int, offset: int = 0) -> None:
        if not 4 <= size <= MOST_ENTRIES or size & (size - 1):
            raise ValueError(f"a queue of {size} descriptors: give a power of two from 4 to {MOST_ENTRIES}")
        self.size = size
        self._mapping = mapping
        self._table = offset
        self._available = offset + self.available_offset(size)
        self._used = offset + self.used_offset(size)
        self._free = list(range(size - 1, -1, -1))
        self._pending: dict[int, _Pending[Token]] = {}
        self._first = bytearray(4)  # the available ring's first two heads, which share a word with its index
        self._flags = 0
        self._index = 0
        self._published = 0
        self._taken = 0

    @staticmethod
    def available_offset(size: int) -> int:
        return 16 * size

    @staticmethod
    def used_offset(size: int) -> int:
        return (16 * size + 4 + 2 * size + 2 + 7) & ~7

    @classmethod
    def bytes_of(cls, size: int) -> int:
        """Bytes of memory that a queue needs."""
        return cls.used_offset(size) + 4 + 8 * size + 2

    @property
    def free(self) -> int:
        """Descriptors that are free: a request needs one for each of its segments."""
        return len(self._free)

    @property
    def pending(self) -> int:
        """Requests that the device has."""
        return len(self._pending)

    def add(self, readable: Sequence[Segment], writable: Sequence[Segment], token: Token) -> None:
        """Make a request ready: what the device reads, then what it writes. `publish` hands it over.

        Raises:
            QueueFull: nothing has changed. ValueError: no segments. VMFault.
        """
        count = len(readable) + len(writable)
        if not count:
            raise ValueError("a request has one segment or more")
        if count > len(self._free):
            raise QueueFull(f"{count} descriptors are needed, and {len(self._free)} are free")
        if count == 1:  # most often: a frame
            head = self._free.pop()
            (address, size), flag = (readable[0], 0) if readable else (writable[0], WRITE)
            self._mapping.write(self._table + 16 * head, _DESCRIPTOR.pack(address, size, flag, 0))
            self._pending[head] = _Pending(token, [head], size if flag else 0)
        else:
            head = self._add_chain(readable, writable, token)
        place = self._index & self.size - 1
        if place < 2:
            self._first[2 * place : 2 * place + 2] = head.to_bytes(2, "little")
        else:
            self._mapping.write(self._available + 4 + 2 * place, head.to_bytes(2, "little"))
        self._index = self._index + 1 & _INDEX

    def _add_chain(self, readable: Sequence[Segment], writable: Sequence[Segment], token: Token) -> int:
        """Descriptors of several segments; the first one's number."""
        count = len(readable) + len(writable)
        chosen = [self._free.pop() for _ in range(count)]
        flags = [0] * len(readable) + [WRITE] * len(writable)
        for at, (segment, flag) in enumerate(zip((*readable, *writable), flags, strict=True)):
            last = at + 1 == count
            entry = _DESCRIPTOR.pack(*segment, flag if last else flag | NEXT, 0 if last else chosen[at + 1])
            self._mapping.write(self._table + 16 * chosen[at], entry)
        self._pending[chosen[0]] = _Pending(token, chosen, sum(size for _, size in writable))
        return chosen[0]

    def publish(self) -> bool:
        """Hand over what was added; whether the device is to be notified: not if it looks by itself. Raises VMFault."""
        if self._index == self._published:
            return False
        self._published = self._index
        return not self._mapping.store_then_load(self._available, self._word(), self._used) & NO_NOTIFY

    def used(self) -> list[tuple[Token, int]]:
        """What the device has done since the last call: (token, bytes written) each.

        Raises:
            HostileDevice: all that the device had is pending still, for `drain`. VMFault.
        """
        index = self._mapping.load_word(self._used) >> 16 & _INDEX
        count = index - self._taken & _INDEX
        if not count:
            return []
        if count > len(self._pending):
            raise HostileDevice(f"the device has given {count} requests back, and was given {len(self._pending)}")
        found: dict[int, int] = {}  # bytes written, by head
        first = self._taken & self.size - 1
        fitting = min(count, self.size - first)
        entries = self._mapping.read(self._used + 4 + 8 * first, 8 * fitting)
        if fitting < count:
            entries += self._mapping.read(self._used + 4, 8 * (count - fitting))
        for head, written in _ENTRY.iter_unpack(entries):
            pending = self._pending.get(head)
            if pending is None or head in found or written > pending.writable:
                raise HostileDevice(f"the device gives back request {head} with {written} bytes, which makes no sense")
            found[head] = written
        self._taken = self._taken + count & _INDEX
        return [(self._end(head), written) for head, written in found.items()]

    def want_interrupts(self, wanted: bool) -> bool:
        """Say whether the device is to interrupt for this queue; whether there is something used now, for who waits.

        Who wants them and is told False will be interrupted for the next one that is used. Raises VMFault.
        """
        self._flags = 0 if wanted else NO_INTERRUPT
        found = self._mapping.store_then_load(self._available, self._word(), self._used)
        return found >> 16 & _INDEX != self._taken

    def drain(self) -> list[Token]:
        """Requests that the device had when it was reset; the queue is not used any more."""
        tokens = [each.token for each in self._pending.values()]
        self._pending.clear()
        return tokens

    def _end(self, head: int) -> Token:
        pending = self._pending.pop(head)
        self._free += reversed(pending.descriptors)
        return pending.token

    def _word(self) -> int:
        return self._flags | self._published << 16 | int.from_bytes(self._first, "little") << 32
