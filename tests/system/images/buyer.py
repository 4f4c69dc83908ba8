# mypy: disable-error-code="empty-body"
"""A task with a bank whose memory is the treasury's, and which buys until it is refused."""

from __future__ import annotations

from libsel4py import Interface, NotEnoughMemory, component, uses
from libsel4py.abi import ObjectType
from libsel4py.banks import BankDestroyed, SpaceBank
from libsel4py.interfaces.space_keeper import SpaceKeeper
from tests.system.images.treasury import Treasury


class Buyer(Interface):
    def open(self, size_bits: int) -> None:
        """Have a bank made."""

    def buy(self, size_bits: int) -> int:
        """Frames of this size, until it is refused; how many. -1: the bank is destroyed."""


@component
class Main(Buyer):
    treasury = uses(Treasury)
    keeper = uses(SpaceKeeper)
    _bank: SpaceBank

    def open(self, size_bits: int) -> None:
        self._bank = SpaceBank(self.task, self.treasury.bank(size_bits), self.keeper)

    def buy(self, size_bits: int) -> int:
        bought = 0
        try:
            while True:
                self._bank.buy(ObjectType.FRAME, size_bits)
                bought += 1
        except NotEnoughMemory:
            return bought
        except BankDestroyed:
            return -1
