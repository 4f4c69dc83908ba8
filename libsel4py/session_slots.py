"""Slots that a session's client pays: capability tables made of the memory that it has donated (Genode's cap quota).

    def open(self, pool: Untyped, slot_bits: int) -> Word:
        return Word(self.sessions.open(pool, Shelf, slot_bits=slot_bits).number)

    def put(self, number: Word) -> Word:                                  # @raises(NotEnoughMemory, NotEnoughSlots)
        with self.sessions.use(number) as session:
            return Word(session.slots.keep(ObjectType.NOTIFICATION))

    def ring(self, number: Word, kept: Word) -> None:
        with self.sessions.use(number) as session, session.slots.at_hand(kept) as slot:
            Notification(slot).signal()

The objects that are kept take none of the server's own slots, so a client that has ever more made exhausts its own
tables, and nobody else's; each table takes one slot of the server's. Rules: a table is made of a pool of the session's
and goes with it, and all that is in it; the server alone has a capability to it, so the client cannot put anything in,
nor look. What is kept is invoked by a copy in one slot of the server's for as long as the block lasts; a mapping that
is made by the copy ends with it. A number of `keep` names one object until it is dropped, and then perhaps another one
of the same session. Not for memory that has parts: that cannot be copied.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from libsel4py.abi import ObjectType
from libsel4py.capabilities import CNode
from libsel4py.capabilities.base import Capability
from libsel4py.errors import ServiceError
from libsel4py.task import Task

LEAST_SLOT_BITS: Final = 2
MOST_SLOT_BITS: Final = 12
Retype = Callable[[ObjectType, int, CNode, int], None]  # type, size_bits, table and index in it


class NotEnoughSlots(ServiceError):
    """The session keeps as many objects as the slots that it was given can hold: donate more, and ask again."""


class UnknownObject(ServiceError):
    """The session keeps no object of this number."""


class SessionSlots:
    """A session's tables.

    Args:
        task: the server. retype: makes an object of the session's memory. lock: the session's.
    """

    def __init__(self, task: Task, retype: Retype, lock: threading.RLock) -> None:
        self._task, self._retype, self._lock = task, retype, lock
        self._tables: list[tuple[int, CNode, int]] = []  # each with its first number and the bits of an index
        self._kept = bytearray()  # by number, whether something is; a client must not cost more than that by a slot

    @property
    def total(self) -> int:
        """How many objects can be kept."""
        return len(self._kept)

    @property
    def free_count(self) -> int:
        """How many more."""
        return self._kept.count(0)

    def add(self, slot: int, bits: int) -> None:
        """A table of 2**bits slots, whose capability stands in ``slot``. By `Session`, which holds the lock."""
        self._tables.append((len(self._kept), CNode(slot), bits))
        self._kept += bytes(1 << bits)

    def keep(self, object_type: ObjectType, size_bits: int = 0) -> int:
        """Make an object of the session's memory and keep it; the number that names it here.

        Raises:
            NotEnoughSlots, and as `Session.make`.
        """
        with self._lock:
            number = self._kept.find(0)
            if number < 0:
                raise NotEnoughSlots(f"the session's {self.total} slots are all taken")
            table, _, index = self._place(number)
            self._retype(object_type, size_bits, table, index)
            self._kept[number] = 1
            return number

    def drop(self, number: int) -> None:
        """Delete what is kept; its slot is free again. Raises UnknownObject."""
        with self._lock:
            table, bits, index = self._kept_at(number)
            table.delete(index, bits)
            self._kept[number] = 0

    @contextmanager
    def at_hand(self, number: int) -> Iterator[int]:
        """A slot of the server's that holds a copy of the capability, for the length of the block.

        Raises:
            UnknownObject. OutOfSlots: the server has none. KernelError: the memory was taken back.
        """
        slot = self._task.slots.allocate()
        try:
            table, bits, index = self._kept_at(number)
            self._task.cnode.copy(slot, table, index, src_depth=bits)
            yield slot
        finally:
            self._task.delete(Capability(slot))

    def _kept_at(self, number: int) -> tuple[CNode, int, int]:
        if not 0 <= number < len(self._kept) or not self._kept[number]:
            raise UnknownObject(f"the session keeps no object {number}")
        return self._place(number)

    def _place(self, number: int) -> tuple[CNode, int, int]:
        """Table, its bits, index in it."""
        first, table, bits = self._tables[bisect_right(self._tables, number, key=lambda each: each[0]) - 1]
        return table, bits, number - first
