"""Open sessions until the server has none for others.

Stopped by: server
Outside: no, a client has so many
"""

from __future__ import annotations

from libsel4py.interfaces.file import LEAST_POOL_BITS
from libsel4py.lending import lend
from tests.escape.held import Held


def attempt(held: Held) -> object:
    lent = []
    try:
        for _ in range(300):
            lent.append(lend(held.task, LEAST_POOL_BITS))
            held.files.session(lent[-1].untyped)
    finally:
        for pool in lent:
            pool.free()
    return True
