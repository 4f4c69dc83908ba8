"""Map, grant and take back pages that are another's, by its addresses, and pages that one has not.

Stopped by: server
Outside: no, who calls is known, and has its own pages alone
"""

from __future__ import annotations

import contextlib

from libsel4py.abi import VMFault
from libsel4py.environment import PAGED_ADDRESS
from libsel4py.errors import ServiceError
from libsel4py.interfaces.mapper import Mapper
from libsel4py.mapping import map_memory
from libsel4py.pagers.flexpages import READ, WRITE, Flexpage
from tests.escape.held import Held
from tests.escape.other import PAGE_BITS, SECRET


def attempt(held: Held) -> object:
    mapper = held.to(Mapper, "mapper")
    window = Flexpage(PAGED_ADDRESS, PAGE_BITS, READ | WRITE).word()
    mapper.accept(window, "attacker")
    page = Flexpage(PAGED_ADDRESS, PAGE_BITS, READ | WRITE).word()
    for ask in (mapper.map, mapper.grant):
        for receiver in ("attacker", "other", "", "nobody"):
            with contextlib.suppress(ServiceError):
                if ask(page, receiver, 0):
                    return True
    mapper.unmap(page, True)
    with contextlib.suppress(VMFault):
        return map_memory(PAGED_ADDRESS, 4096, True).read(0, len(SECRET)) == SECRET
    mapper.accept(0, "")
    return None
