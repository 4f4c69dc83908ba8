"""Write to a page that another one has mapped to one to be read: by a store, and by mapping it on with more rights.

Stopped by: server, mmu
Outside: granted
"""

from __future__ import annotations

import contextlib

from libsel4py.abi import VMFault
from libsel4py.environment import PAGED_ADDRESS
from libsel4py.errors import ServiceError
from libsel4py.interfaces.mapper import Mapper
from libsel4py.mapping import map_memory
from libsel4py.pagers.flexpages import READ, WRITE, Flexpage
from tests.escape.attempt import Stopped
from tests.escape.held import Held
from tests.escape.other import PAGE, PAGE_BITS, SECRET


def attempt(held: Held) -> object:
    mapper = held.to(Mapper, "mapper")
    mapper.accept(Flexpage(PAGED_ADDRESS, PAGE_BITS, READ | WRITE).word(), "other")
    held.other.lend_page()
    seen = map_memory(PAGED_ADDRESS, PAGE, True)
    assert seen.read(0, len(SECRET)) == SECRET, "the page is not there to be read"
    mapper.accept(Flexpage(PAGED_ADDRESS + PAGE, PAGE_BITS, READ | WRITE).word(), "attacker")
    try:
        with contextlib.suppress(ServiceError):
            mapper.map(Flexpage(PAGED_ADDRESS, PAGE_BITS, READ | WRITE).word(), "attacker", 0)
            with contextlib.suppress(VMFault):
                map_memory(PAGED_ADDRESS + PAGE, PAGE, True).write(PAGE // 2, b"more")
                return True
        seen.write(PAGE // 2, b"more")
    except VMFault as fault:
        raise Stopped(str(fault)) from None
    finally:
        mapper.unmap(Flexpage(PAGED_ADDRESS, PAGE_BITS, READ | WRITE).word(), True)
        mapper.accept(0, "")
    return True
