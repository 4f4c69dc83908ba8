"""Lending memory to a server, for what it does on one's behalf: the client's half of the resource-pool pattern.

    with lend(self.task, 16) as pool:
        number = self.uses.counters.open(pool.untyped)
        …
    # everything that any server made of it is gone, and the memory is this task's again, whole

Rule: nothing that a server does can keep the memory: it is taken back by revoking it, which no server is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Self, TypeVar

from libsel4py.abi import ObjectType
from libsel4py.capabilities import Untyped
from libsel4py.errors import NotEnoughMemory
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
