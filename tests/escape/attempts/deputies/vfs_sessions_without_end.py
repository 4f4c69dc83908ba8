"""Open sessions by what the namespace gives, and by narrowed parts of it, until others that it serves get none.

Stopped by: server
Outside: no, a client's part of them is bounded
"""

from __future__ import annotations

import contextlib

from libsel4py.errors import ServiceError
from libsel4py.interfaces.file import Access, Directory
from libsel4py.interfaces.namespace import Namespace
from tests.escape.held import Held

PARTS, OF_EACH, BITS = 20, 16, 13


def attempt(held: Held) -> object:
    tree = held.to(Namespace, "tree")
    _, endpoint = tree.resolve("/")
    directory = Directory(endpoint)
    lent = []
    opened = 0
    for number in range(PARTS):
        with contextlib.suppress(ServiceError):
            directory.make_directory(f"part{number}")
        with contextlib.suppress(ServiceError):
            part = Directory(directory.narrow(f"part{number}", Access.READ))
            for _ in range(OF_EACH):
                lent.append(held.pool(BITS))
                part.session(lent[-1].untyped)
                opened += 1
    assert opened, "no session was opened at all"
    starved = held.other.opened_anew()
    for pool in lent:
        pool.free()
    return starved
