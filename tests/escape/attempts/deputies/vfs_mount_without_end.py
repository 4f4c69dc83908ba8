"""Mount and narrow until the namespace has no room for others.

Stopped by: server
Outside: no, a client's part of it is bounded
"""

from __future__ import annotations

import contextlib
import itertools

from libsel4py.errors import ServiceError
from libsel4py.interfaces.file import Access
from libsel4py.interfaces.namespace import Namespace
from tests.escape.held import Held


def attempt(held: Held) -> object:
    tree = held.to(Namespace, "tree")
    _, endpoint = tree.resolve("/")
    mounted = 0
    with contextlib.suppress(ServiceError):
        for number in itertools.count():
            tree.mount(f"/mount{number}", endpoint)
            mounted += 1
    with contextlib.suppress(ServiceError):
        for number in itertools.count():
            tree.narrow(f"/{number}".ljust(200, "x"), Access.READ)
    starved = held.other.mounted_anew()
    for number in range(mounted):
        tree.unmount(f"/mount{number}")
    return starved
