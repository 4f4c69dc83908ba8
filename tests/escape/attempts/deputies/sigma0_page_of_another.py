"""Ask for a page that another one has: by its address, as a part of a larger one, and as a smaller part of it.

Stopped by: server
Outside: no, a page goes to one requester
"""

from __future__ import annotations

from libsel4py.interfaces.sigma0 import Sigma0
from tests.escape.held import Held
from tests.escape.other import PAGE_BITS


def attempt(held: Held) -> object:
    sigma0 = held.to(Sigma0, "sigma0")
    own = sigma0.get_any(PAGE_BITS)
    assert own is not None
    assert sigma0.get_page(own[0], PAGE_BITS) is not None, "one's own is not given again"
    page = held.told().page
    for bits in range(PAGE_BITS, 22):
        if sigma0.get_page(page >> bits << bits, bits) is not None:
            return True
    return None
