"""Mount what is no directory: memory, a thread, a notification, another server, an endpoint at which nobody is.

Stopped by: server
Outside: no, they are none
"""

from __future__ import annotations

import contextlib

from libsel4py import Endpoint
from libsel4py.errors import InvalidMessage, KernelError, ServiceError, Timeout
from libsel4py.interface import with_timeout
from libsel4py.interfaces.namespace import Namespace
from tests.escape.held import Held

SECONDS = 0.05


def attempt(held: Held) -> object:
    tree = held.to(Namespace, "tree")
    connections = held.task.environment.connections.values()
    servers = [each.cptr for each in connections if "Directory" not in each.interface]
    with held.pool(12) as pool:
        for cptr in (pool.untyped.cptr, *held.strange()[:4], *servers):
            with contextlib.suppress(ServiceError, InvalidMessage, KernelError):
                tree.mount("/strange", Endpoint(cptr))
                with contextlib.suppress(Timeout):
                    rest, _ = with_timeout(tree, SECONDS).resolve("/strange")
                    if not rest:
                        return cptr
            with contextlib.suppress(ServiceError, InvalidMessage, KernelError):
                tree.unmount("/strange")
    return None
