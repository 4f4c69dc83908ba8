# mypy: disable-error-code="empty-body"
"""sigma0: who owns memory that is nobody's yet, and hands out each page once (L4 X.2, section 7.1).

Pages are flexpages (`libsel4py.pagers.flexpages.Flexpage`) of physical addresses, and come as frame capabilities:
copies of sigma0's, which it can take back. A page goes to one requester; it may ask again, and is given it again.
"""

from __future__ import annotations

from typing import Final

from libsel4py.capabilities import Frame
from libsel4py.interface import Interface, local, method
from libsel4py.pagers.flexpages import READ, WRITE, Flexpage
from libsel4py.signature import Word

SIGMA0_LABEL: Final = (-6 << 4) & 0xFFFF_FFFF  # L4's label of a request, as an interface's label of 32 bits
ANY_BASE: Final = (1 << 54) - 1  # base of a flexpage that may be anywhere: L4's -1, in units of 1024 bytes
NOTHING: Final = 0  # the nil flexpage: refused


class Sigma0(Interface):
    """The owner of free memory."""

    @method(label=SIGMA0_LABEL)
    def request(self, page: Word, attributes: Word) -> tuple[Word, Frame | None]:
        """Ask for a page by its flexpage word; returns the one that is granted with its frame, or `NOTHING` and None.

        ``attributes`` are L4's; memory of the host is as it is, whatever they say. Nothing is granted that another
        has, in whole or in part, nor what is not sigma0's.
        """

    @local
    def get_page(self, base: int, size_bits: int) -> Frame | None:
        """The page at a physical address; None if it is not to be had."""
        return self.request(Flexpage(base, size_bits, READ | WRITE).word(), 0)[1]

    @local
    def get_any(self, size_bits: int) -> tuple[int, Frame] | None:
        """Some page of 2**size_bits bytes that nobody has: its address and frame; None if there is none left."""
        granted, frame = self.request(ANY_BASE << 10 | size_bits << 4 | READ | WRITE, 0)
        return (Flexpage.of(granted).base, frame) if frame is not None else None
