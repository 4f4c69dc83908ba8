"""Ask the pager as if it were a memory object: for the pages that it has for others.

Stopped by: server
Outside: no, a pager is no memory object
"""

from __future__ import annotations

import contextlib

from libsel4py.interface import endpoint_of, with_timeout
from libsel4py.interfaces.memory_object import READ_ONLY, MemoryObject
from libsel4py.interfaces.pager import PagerStatistics
from tests.escape.held import REFUSED, SECONDS, Held


def attempt(held: Held) -> object:
    pager = held.to(PagerStatistics, "pager")
    assert pager.statistics().faults >= 0
    pages = with_timeout(MemoryObject(endpoint_of(pager)), SECONDS)
    for method, arguments in (
        ("init", (held.task.notification,)),
        ("data_request", (0, 4096, READ_ONLY)),
        ("data_unlock", (0, 4096, READ_ONLY)),
        ("lock_next", ()),
        ("attributes", ()),
        ("terminate", ()),
    ):
        with contextlib.suppress(*REFUSED):
            return getattr(pages, method)(*arguments) or True
    return None
