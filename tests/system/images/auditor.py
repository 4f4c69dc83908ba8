"""Has a buyer come to its bank's limit, and ends it; ends with 0 if nothing of what it had is left."""

from __future__ import annotations

from libsel4py import Component, component, uses
from tests.system.images.buyer import Buyer
from tests.system.images.treasury import LENDS_BYTES, Treasury

BANK_BITS, FRAME_BITS = 14, 12
OWN, LENT = 1 << BANK_BITS - FRAME_BITS, LENDS_BYTES >> FRAME_BITS


@component
class Main(Component):
    treasury = uses(Treasury)
    buyer = uses(Buyer)

    def run(self) -> int:
        whole = self.treasury.destroy()
        for _ in range(3):
            before = self.treasury.asked()
            self.buyer.open(BANK_BITS)
            assert self.buyer.buy(FRAME_BITS) == OWN + LENT
            assert self.treasury.asked() - before == LENT + 1  # and was refused the last time
            assert self.buyer.buy(FRAME_BITS) == 0
            self.uses.system.kill("buyer")  # it holds all of this
            assert self.treasury.destroy() == whole
        self.buyer.open(BANK_BITS)
        assert self.buyer.buy(FRAME_BITS) == OWN + LENT
        assert self.treasury.destroy() == whole
        assert self.buyer.buy(FRAME_BITS) == -1
        return 0
