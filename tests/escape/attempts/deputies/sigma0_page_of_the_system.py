"""Ask for pages that are none of sigma0's: the first ones of RAM, where the kernel's are, and ones beyond it.

Stopped by: server
Outside: no, sigma0 has its own alone
"""

from __future__ import annotations

import contextlib

from libsel4py.interfaces.sigma0 import Sigma0
from tests.escape.held import REFUSED, Held
from tests.escape.other import PAGE_BITS

ADDRESSES = (0, 1 << 12, 1 << 20, 1 << 24, 1 << 30, (1 << 40) - (1 << 12), (1 << 64) - (1 << 12))


def attempt(held: Held) -> object:
    sigma0 = held.to(Sigma0, "sigma0")
    for address in ADDRESSES:
        if sigma0.get_page(address, PAGE_BITS) is not None:
            return True
    for word in (0, (1 << 64) - 1, 11 << 4 | 7, 63 << 4 | 7, PAGE_BITS << 4 | 7):
        with contextlib.suppress(*REFUSED):
            if sigma0.request(word, (1 << 64) - 1)[1] is not None:
                return True
    return None
