"""End a mount of another client's, of the description's, and mount over it.

Stopped by: server
Outside: no, who has mounted it alone may
"""

from __future__ import annotations

import contextlib

from libsel4py.errors import ServiceError
from libsel4py.interfaces.namespace import Namespace
from tests.escape.held import Held


def attempt(held: Held) -> object:
    tree = held.to(Namespace, "tree")
    _, endpoint = tree.resolve("/")
    tree.mount("/own", endpoint)
    tree.unmount("/own")
    for path in ("/", "/tmp", "/mounted", "/private/mounted", "/../private/mounted"):
        with contextlib.suppress(ServiceError):
            tree.unmount(path)
            return True
    return None
