"""A program that takes memory of sigma0 beside another task; ends with 0 if each page went to one of them alone."""

from __future__ import annotations

from itertools import pairwise

from libsel4py import Component, component, uses
from libsel4py.interfaces.sigma0 import Sigma0
from tests.system.images.settler import Land, Settler

PAGE_BITS, PAGE = 12, 4096


@component
class Main(Component):
    sigma0 = uses(Sigma0)
    other = uses(Settler)

    def run(self) -> int:
        self.pool = int(str(self.task.environment.configuration["pool"]))
        self.land = Land(self.task)
        first = self.takes(PAGE_BITS)
        self.is_served_again(first)
        self.is_mine_alone(first)
        theirs = self.other.take_any(PAGE_BITS)
        assert theirs >= 0
        assert self.sigma0.get_page(theirs, PAGE_BITS) is None
        assert self.sigma0.get_page(first ^ 1 << 40, PAGE_BITS) is None  # nobody's at all
        granted = {first: PAGE, theirs: PAGE, self.takes(14): 4 * PAGE}
        granted |= self.takes_the_rest()
        self.is_all_there_is(granted)
        return 0

    def takes(self, bits: int) -> int:
        found = self.sigma0.get_any(bits)
        assert found is not None
        self.land.settle(found[0], bits, found[1])
        return found[0]

    def is_served_again(self, address: int) -> None:
        """Who has a page is given the same one again: what was written through the one is seen through the other."""
        frame = self.sigma0.get_page(address, PAGE_BITS)
        assert frame is not None
        assert frame.get_address() == address
        again = self.land.map(frame, PAGE)
        assert again.read(0, 7) == b"client\0"
        again.write(1, b"L")
        assert self.land.pages[address].read(0, 6) == b"cLient"
        again.write(1, b"l")

    def is_mine_alone(self, address: int) -> None:
        """Nor is any larger page given that it lies in."""
        assert not self.other.take(address, PAGE_BITS)
        assert not self.other.take(address & ~(4 * PAGE - 1), 14)
        assert self.sigma0.get_page(address & ~(4 * PAGE - 1), 14) is None

    def takes_the_rest(self) -> dict[int, int]:
        """By turns, until there is nothing left for either."""
        granted = {}
        while (mine := self.sigma0.get_any(PAGE_BITS)) is not None:
            self.land.settle(mine[0], PAGE_BITS, mine[1])
            granted[mine[0]] = PAGE
            theirs = self.other.take_any(PAGE_BITS)
            if theirs < 0:
                break
            granted[theirs] = PAGE
        assert self.other.take_any(PAGE_BITS) == -1
        return granted

    def is_all_there_is(self, granted: dict[int, int]) -> None:
        """Together the pages are the pool, without overlap, and each still holds what its owner wrote."""
        assert sum(granted.values()) == self.pool
        covered = sorted(granted.items())
        assert all(start + size == following for (start, size), (following, _) in pairwise(covered))
        for address in granted:
            mine = self.land.pages.get(address)
            text = self.other.first_bytes(address) if mine is None else mine.read(0, 8)
            assert text.rstrip(b"\0") == (b"other" if mine is None else b"client"), (hex(address), text)
