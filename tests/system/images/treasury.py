# mypy: disable-error-code="empty-body"
"""Who owns the memory of other tasks' banks, and is asked at their limits: it lends some, and then refuses."""

from __future__ import annotations

from libsel4py import Interface, NotEnoughMemory, Untyped, component, raises
from libsel4py.abi import UNTYPED_MIN_BITS, ObjectType
from libsel4py.banks import SpaceBank
from libsel4py.interfaces.space_keeper import SpaceKeeper

LENDS_BYTES = 1 << 16  # beyond a bank's own, until it is destroyed
RESERVE_BITS = 18


class Treasury(Interface):
    @raises(NotEnoughMemory)
    def bank(self, size_bits: int) -> Untyped:
        """Memory for a bank."""

    def asked(self) -> int:
        """How often it was asked for more."""

    def destroy(self) -> int:
        """Rescind all that was sold of it; how many bytes are free then."""


@component
class Main(Treasury, SpaceKeeper):
    def start(self) -> None:
        self._asked = self._lent = 0
        self._reserve = SpaceBank.open(self.task, RESERVE_BITS)

    def bank(self, size_bits: int) -> Untyped:
        return Untyped(self._reserve.buy(ObjectType.UNTYPED, size_bits).start)

    def more(self, size_bits: int) -> Untyped:
        self._asked += 1
        size_bits = max(size_bits, UNTYPED_MIN_BITS)
        if self._lent + (1 << size_bits) > LENDS_BYTES:
            raise NotEnoughMemory(LENDS_BYTES - self._lent)
        self._lent += 1 << size_bits
        return self.bank(size_bits)

    def asked(self) -> int:
        return self._asked

    def destroy(self) -> int:
        self._reserve.destroy()
        self.start()
        free = self._reserve.statistics().free_bytes
        return free + self.task.memory.statistics().free_bytes
