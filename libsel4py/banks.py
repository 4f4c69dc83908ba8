"""Space banks: memory with a limit, all of which is bought of one bank and comes back when that is destroyed (KeyKOS).

    with SpaceBank.open(task, 16) as bank:               # 64 KiB of the task's own pool
        first = bank.buy(ObjectType.FRAME, 12).start
        with bank.sub_bank(14) as part:                  # a limit of its own, within that of the bank
            part.buy(ObjectType.ENDPOINT)

    bank = SpaceBank(task, pool, keeper=self.uses.keeper)  # memory that was lent; at its end the keeper is asked

A bank is untyped memory, so its limit is the kernel's: nobody sells more than there is, whatever tasks a bank's memory
has gone through. Who buys past the limit has the bank's keeper asked, by a call (`SpaceKeeper.more`): it lends more,
and the purchase goes on; or it raises NotEnoughMemory, and so does the purchase. What it has lent is its own, and it
can take it back as whoever made the bank can take that: by revoking it, for which it asks nobody.

Rules. `destroy` rescinds all that was sold, wherever it is by then, that of sub-banks as well. What others take back is
found at the next purchase: a bank whose own memory is gone is destroyed, a lent part that is gone is not counted any
more. Slots of things that were sold are given to nobody before they are sold back or the bank is destroyed here. One
thread at a time uses a bank; its keeper is called without a lock.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from libsel4py.abi import UNTYPED_MIN_BITS, CapType, ObjectType, object_size_bits
from libsel4py.capabilities import Untyped
from libsel4py.errors import InvalidMessage, KernelError, NotEnoughMemory, ServiceError
from libsel4py.interfaces.space_keeper import SpaceKeeper
from libsel4py.lowlevel.cspace import SlotAllocator
from libsel4py.lowlevel.identify import identify
from libsel4py.lowlevel.untyped import UntypedAllocator, UntypedStatistics
from libsel4py.task import Task

MOST_PARTS: Final = 64  # pieces of memory that one bank has


class BankDestroyed(ServiceError):
    """The bank's memory was taken back, or the bank was destroyed: it sells nothing any more."""


class _OwnSlots(SlotAllocator):
    """A task's slots, and which of them one part of a bank uses."""

    def __init__(self, source: SlotAllocator) -> None:
        super().__init__(0, 0)
        self._source = source
        self._mine: set[int] = set()

    def allocate_range(self, count: int) -> range:
        slots = self._source.allocate_range(count)
        self._mine.update(slots)
        return slots

    def free_range(self, slots: range) -> None:
        self._source.free_range(slots)
        self._mine.difference_update(slots)

    def __len__(self) -> int:
        """How many are used."""
        return len(self._mine)

    def free_all(self) -> None:
        """All that are still used; what was in them is gone."""
        for slot in self._mine:
            self._source.free(slot)
        self._mine.clear()


class _Part:
    """Memory in one piece. ``give_back`` returns it, empty, to whoever it is from."""

    def __init__(self, task: Task, untyped: Untyped, size_bits: int, give_back: Callable[[], None]) -> None:
        self.untyped = untyped
        self.slots = _OwnSlots(task.slots)
        self.allocator = UntypedAllocator(task.cnode, self.slots)
        self.allocator.add(untyped, size_bits)
        self.give_back = give_back
        self.is_lost = False

    def is_there(self) -> bool:
        return identify(self.untyped.cptr).type == CapType.UNTYPED.name


class SpaceBank:
    """Sells objects. A context manager that destroys it.

    Args:
        untyped: memory without children, the bank's from here on: `destroy` gives its slot up. keeper: who is asked at
            the limit; without one the limit stays.
    Raises:
        InvalidMessage: it is no plain untyped memory.
    """

    def __init__(
        self,
        task: Task,
        untyped: Untyped,
        keeper: SpaceKeeper | None = None,
        give_back: Callable[[], None] | None = None,
    ) -> None:
        self._task, self._keeper = task, keeper
        self._parts = [self._part(untyped, give_back)]
        self._lost: list[_Part] = []
        self._sold: dict[int, tuple[_Part, range]] = {}  # by first slot
        self._sub_banks: dict[int, SpaceBank] = {}  # by their memory's slot

    @classmethod
    def open(cls, task: Task, size_bits: int, keeper: SpaceKeeper | None = None) -> SpaceBank:
        """A bank of 2**size_bits bytes of the task's pool. Raises NotEnoughMemory, OutOfSlots."""
        slot = task.memory.allocate(ObjectType.UNTYPED, size_bits).start
        return cls(task, Untyped(slot), keeper, lambda: task.memory.free(slot))

    def sub_bank(self, size_bits: int, keeper: SpaceKeeper | None = None) -> SpaceBank:
        """A bank within this one. Raises as `buy`."""
        slot = self.buy(ObjectType.UNTYPED, size_bits).start
        made = self._sub_banks[slot] = SpaceBank(self._task, Untyped(slot), keeper, lambda: self.sell(slot))
        return made

    def buy(self, object_type: ObjectType, size_bits: int = 0, count: int = 1) -> range:
        """Make ``count`` objects and return their slots, which follow each other.

        Args:
            size_bits: as Untyped.retype takes it.
        Raises:
            NotEnoughMemory: the limit is reached, and there is no keeper, or it refuses, or has lent 63 times.
            BankDestroyed. OutOfSlots.
            InvalidMessage: what the keeper has lent is no memory of that size. KernelError: the kernel refused the
                object. What the call of a keeper raises.
        """
        bits = max(object_size_bits(object_type, size_bits) + (count - 1).bit_length(), UNTYPED_MIN_BITS)
        while True:
            full = self._try(object_type, size_bits, count)
            if not isinstance(full, NotEnoughMemory):
                return full
            if self._keeper is None or len(self._parts) == MOST_PARTS:
                raise full
            self._parts.append(self._part(self._keeper.more(bits), None, bits))

    def sell(self, slot: int) -> None:
        """Sell back what was bought together with ``slot`` as its first: it is deleted in every task.

        Raises:
            ValueError: nothing that this bank has sold begins there.
        """
        sold = self._sold.pop(slot, None)
        if sold is None:
            raise ValueError(f"this bank has sold nothing that begins at slot {slot}, or has it back")
        part, slots = sold
        self._sub_banks.pop(slot, None)
        if part.is_lost:
            part.slots.free_range(slots)
        else:
            part.allocator.free(slot)

    @property
    def is_alive(self) -> bool:
        """Whether it has its memory still."""
        return bool(self._parts) and self._parts[0].is_there()

    @property
    def slots(self) -> int:
        """How many of the task's slots are used for what it has sold."""
        return sum(len(part.slots) for part in (*self._parts, *self._lost))

    def statistics(self) -> UntypedStatistics:
        """Of its memory and of what it was lent, as far as is known."""
        each = [part.allocator.statistics() for part in self._parts]
        return UntypedStatistics(
            sum(part.total_bytes for part in each),
            sum(part.free_bytes for part in each),
            max((part.largest_free_bytes for part in each), default=0),
        )

    def destroy(self) -> None:
        """Rescind all that was sold, and give the memory back to where it is from. Twice is no error."""
        self._let_go(give_back=True)

    def _let_go(self, *, give_back: bool) -> None:
        """Without ``give_back`` the memory is deleted along with a bank above this one."""
        for bank in self._sub_banks.values():
            bank._let_go(give_back=False)
        parts, self._parts, self._lost = [*self._parts, *self._lost], [], []
        own = parts[0] if parts else None
        self._sub_banks.clear()
        self._sold.clear()
        for part in parts:
            self._task.cnode.revoke(part.untyped.cptr)
            part.slots.free_all()
            if give_back or part is not own:
                part.give_back()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.destroy()

    def _part(self, untyped: Untyped, give_back: Callable[[], None] | None, least_bits: int = 0) -> _Part:
        found = identify(untyped.cptr)
        if found.type != CapType.UNTYPED.name or found.is_device or found.size_bits < least_bits:
            self._task.delete(untyped)
            raise InvalidMessage(
                f"a bank's memory is untyped memory of at least 2**{least_bits} bytes, and this is "
                f"{'device memory' if found.is_device else found.type} of 2**{found.size_bits}"
            )
        return _Part(self._task, untyped, found.size_bits, give_back or (lambda: self._task.delete(untyped)))

    def _try(self, object_type: ObjectType, size_bits: int, count: int) -> range | NotEnoughMemory:
        """The objects' slots, from the first part with room; else what the one with most memory left says."""
        full: list[tuple[_Part, NotEnoughMemory]] = []
        for part in list(self._parts):
            try:
                slots = part.allocator.allocate(object_type, size_bits, count)
            except NotEnoughMemory as error:
                full.append((part, error))
            except KernelError:
                if part.is_there():
                    raise
                self._lose(part)
            else:
                self._sold[slots.start] = (part, slots)
                return slots
        for part, _ in full:  # what is gone is no matter of limits
            if not part.is_there():
                self._lose(part)
        left = [error for part, error in full if not part.is_lost]
        if not left:
            raise BankDestroyed("the bank's memory was taken back, or the bank was destroyed")
        return max(left, key=lambda error: error.payload)

    def _lose(self, part: _Part) -> None:
        if part is self._parts[0]:
            raise BankDestroyed("the bank's memory was taken back")
        self._parts.remove(part)
        part.is_lost = True
        self._lost.append(part)
