"""Map a page to one who takes none of oneself, over what it has there.

Stopped by: server
Outside: granted
"""

from __future__ import annotations

from libsel4py.environment import PAGED_ADDRESS
from libsel4py.interfaces.mapper import Mapper
from libsel4py.pagers.flexpages import READ, WRITE, Flexpage
from tests.escape.held import Held
from tests.escape.other import PAGE_BITS


def attempt(held: Held) -> object:
    mapper = held.to(Mapper, "mapper")
    mapper.accept(Flexpage(PAGED_ADDRESS, PAGE_BITS, READ | WRITE).word(), "other")
    held.other.lend_page()
    page = Flexpage(PAGED_ADDRESS, PAGE_BITS, READ).word()
    try:
        return mapper.map(page, "other", 0)
    finally:
        mapper.unmap(Flexpage(PAGED_ADDRESS, PAGE_BITS, READ | WRITE).word(), True)
        mapper.accept(0, "")
