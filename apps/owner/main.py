"""Has figures that nobody else is to see, and an adviser work on them whose program it has not read.

It asks what could get out of each product; has one made that is confined, and is refused one that is not; and looks at
last at what happens to who accepts a hole all the same. Its status says at which step something else came than was
due: 0 if all was as it should be.
"""

from __future__ import annotations

from libsel4py import Component, component, uses
from libsel4py.interfaces.adviser import Adviser, Shop
from libsel4py.interfaces.constructor import NotConfined, Requestor
from libsel4py.lending import lend

FIGURES = [3, 1, 4, 1, 5]


@component
class Main(Component):
    """The owner of the figures."""

    shop = uses(Shop)

    def run(self) -> int:
        plain, chatty = (Requestor(self.shop.product(name)) for name in ("plain", "chatty"))
        if plain.holes() or self._advice(plain, []) != max(FIGURES):
            return 1
        if self.shop.told():
            return 2
        self.log.info("the plain one gave advice, and told nobody")
        if chatty.holes() != ["mail"] or self._is_made(chatty):
            return 3
        if self.shop.told():
            return 4
        self.log.info("the chatty one is refused: %s", chatty.parts())
        if self._advice(chatty, ["mail"]) != max(FIGURES) or not self.shop.told():
            return 5
        self.log.info("who accepts the hole is told on: %s", self.shop.told())
        return 0

    def _advice(self, requestor: Requestor, accepted: list[str]) -> int:
        """What a product says to the figures; it is gone afterwards, and its memory this task's again."""
        with lend(self.task, requestor.size_bits()) as pool:
            return Adviser(requestor.new(pool.untyped, accepted)).advise(FIGURES)

    def _is_made(self, requestor: Requestor) -> bool:
        with lend(self.task, requestor.size_bits()) as pool:
            try:
                requestor.new(pool.untyped, [])
            except NotConfined as refusal:
                self.log.info("%s", refusal)
                return False
        return True
