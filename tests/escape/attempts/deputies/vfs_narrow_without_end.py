"""Have a file system narrow so much for the namespace that it does so for nobody else.

Stopped by: server
Outside: no, a client's part of it is bounded
"""

from __future__ import annotations

import contextlib

from libsel4py.errors import ServiceError
from libsel4py.interfaces.file import Access, Directory
from libsel4py.interfaces.namespace import Namespace
from tests.escape.held import Held

MANY = 100


def attempt(held: Held) -> object:
    tree = held.to(Namespace, "tree")
    _, endpoint = tree.resolve("/")
    directory = Directory(endpoint)
    for number in range(MANY):
        with contextlib.suppress(ServiceError):
            directory.make_directory(f"part{number}")
            for rights in (Access.READ, Access.WRITE, Access.ALL):
                directory.narrow(f"part{number}", rights)
    return held.other.resolved_anew()
