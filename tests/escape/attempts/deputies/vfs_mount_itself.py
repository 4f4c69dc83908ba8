"""Mount the namespace in itself, so that it waits for its own answer.

Stopped by: server
Outside: no, it is no directory
"""

from __future__ import annotations

import contextlib

from libsel4py.errors import ServiceError, Timeout
from libsel4py.interface import endpoint_of
from libsel4py.interfaces.namespace import Namespace
from tests.escape.held import Held


def attempt(held: Held) -> object:
    tree = held.to(Namespace, "tree")
    tree.mount("/itself", endpoint_of(tree))
    with contextlib.suppress(ServiceError, Timeout):
        return tree.resolve("/itself/itself")
    assert not held.other.harmed(), "others are not served any more"
    return None
