"""Lending memory to a server, for what it does on one's behalf: the client's half of the resource-pool pattern.

    with lend(self.task, 16) as pool:
        number = self.uses.counters.open(pool.untyped)
        …
    # everything that any server made of it is gone, and the memory is this task's again, whole

    number, donation = donate(self.task, 12, 1 << 20, self.uses.counters.open)     # a quota that grows with the need
    with donation:
        donation.call(lambda: self.uses.counters.add(number), lambda more: self.uses.counters.upgrade(number, more))

Rule: nothing that a server does can keep the memory: it is taken back by revoking it, which no server is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Self, TypeVar

from libsel4py.abi import SLOT_BITS, UNTYPED_MIN_BITS, ObjectType
from libsel4py.capabilities import Untyped
from libsel4py.errors import NotEnoughMemory
from libsel4py.session_slots import LEAST_SLOT_BITS, MOST_SLOT_BITS, NotEnoughSlots
from libsel4py.task import Task

Result = TypeVar("Result")


class LentPool:
    """Memory that can be lent, to one server at a time. Made by `lend`; a context manager that frees it.

    Attributes:
        untyped: what is passed to the server. size_bits: log2 of its bytes.
    """

    def __init__(self, task: Task, untyped: Untyped, size_bits: int) -> None:
        self.untyped = untyped
        self.size_bits = size_bits
        self._task = task

    def take_back(self) -> None:
        """Delete everything that was made of it, wherever that is. It can be lent again."""
        self._task.cnode.revoke(self.untyped.cptr)

    def free(self) -> None:
        """Take it back, and give it to the task's own memory again. Raises ValueError if that was done before."""
        self._task.memory.free(self.untyped.cptr)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.free()


def lend(task: Task, size_bits: int) -> LentPool:
    """2**size_bits bytes of the task's memory. Raises NotEnoughMemory, OutOfSlots."""
    return LentPool(task, Untyped(task.memory.allocate(ObjectType.UNTYPED, size_bits).start), size_bits)


def lend_enough(
    task: Task, size_bits: int, most_bits: int, call: Callable[[Untyped], Result]
) -> tuple[Result, LentPool]:
    """Call with a pool; with one of twice the size whenever the server says NotEnoughMemory.

    Args:
        size_bits, most_bits: log2 of the bytes that are lent first, and at most.
    Raises:
        NotEnoughMemory: the largest was not enough, or this task has no more. What ``call`` raises; nothing stays lent.
    """
    while True:
        pool = lend(task, size_bits)
        try:
            return call(pool.untyped), pool
        except BaseException as error:
            pool.free()
            if not isinstance(error, NotEnoughMemory) or size_bits >= most_bits:
                raise
        size_bits += 1


class Donation:
    """What one session of a server was given, in parts: a quota (Genode). Made by `donate`; a context manager.

    Attributes:
        bytes: of all parts. most_bytes: what they come to at most. slots: that were made of it for the session.
    """

    def __init__(self, task: Task, first: LentPool, most_bytes: int, slots: int = 0) -> None:
        self.most_bytes = most_bytes
        self.slots = slots
        self._task = task
        self._pools = [first]

    @property
    def bytes(self) -> int:
        return sum(1 << pool.size_bits for pool in self._pools)

    def call(self, request: Callable[[], Result], upgrade: Callable[[Untyped], object]) -> Result:
        """Make a request, again and again with twice the quota whenever the server says NotEnoughMemory.

        Args:
            upgrade: gives memory to the session, in the server (`Sessions.upgrade`).
        Raises:
            NotEnoughMemory: ``most_bytes`` were not enough, or this task has no more. What ``request`` and ``upgrade``
                raise. What was donated before stays so.
        """
        while True:
            try:
                return request()
            except NotEnoughMemory:
                bits = min(self.bytes, self.most_bytes - self.bytes).bit_length() - 1
                if bits < UNTYPED_MIN_BITS:
                    raise
            self._give(bits, upgrade)

    def call_for_slots(
        self, request: Callable[[], Result], upgrade: Callable[[Untyped, int], object], bits: int = LEAST_SLOT_BITS
    ) -> Result:
        """Make a request, again with twice the slots whenever the server says NotEnoughSlots, at first 2**bits more.

        Args:
            upgrade: gives memory to the session, and 2**(its second argument) slots of it (`Sessions.upgrade`).
        Raises:
            NotEnoughSlots: there are no more for ``most_bytes``. NotEnoughMemory: this task has no more. What
                ``request`` and ``upgrade`` raise. What was donated before stays so.
        """
        while True:
            try:
                return request()
            except NotEnoughSlots:
                more = max(bits, min(self.slots.bit_length() - 1, MOST_SLOT_BITS))
                size_bits = max(more + SLOT_BITS + 1, UNTYPED_MIN_BITS)  # with room for the death notice
                if self.bytes + (1 << size_bits) > self.most_bytes:
                    raise
            self._give(size_bits, lambda pool, more=more: upgrade(pool, more))  # type: ignore[misc]
            self.slots += 1 << more

    def _give(self, bits: int, upgrade: Callable[[Untyped], object]) -> None:
        pool = lend(self._task, bits)
        try:
            upgrade(pool.untyped)
        except BaseException:
            pool.free()
            raise
        self._pools.append(pool)

    def free(self) -> None:
        """Take all of it back, which ends the session; the task's own memory has it again. Twice is no error."""
        pools, self._pools = self._pools, []
        for pool in pools:
            pool.free()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.free()


def donate(
    task: Task, size_bits: int, most_bytes: int, open_session: Callable[[Untyped], Result], *, slots: int = 0
) -> tuple[Result, Donation]:
    """Open a session with 2**size_bits bytes, or more if the server says NotEnoughMemory; raises as `lend_enough`.

    Args:
        slots: how many ``open_session`` has the server make of the pool.
    """
    most_bits = max(most_bytes.bit_length() - 1, size_bits)
    result, pool = lend_enough(task, size_bits, most_bits, open_session)
    return result, Donation(task, pool, most_bytes, slots)
