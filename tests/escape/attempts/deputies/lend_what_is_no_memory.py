"""Have a server read into what is no memory of one's own: an address space, a thread, the server's own endpoint.

Stopped by: server
Outside: no, it is no memory
"""

from __future__ import annotations

import contextlib

from libsel4py.dataspace import SharedMemory
from libsel4py.errors import InvalidMessage, KernelError, ServiceError
from libsel4py.interface import endpoint_of
from libsel4py.interfaces.file import Directory
from libsel4py.lending import lend
from tests.escape.held import Held


def attempt(held: Held) -> object:
    with lend(held.task, 17) as pool:
        session = Directory(held.files.session(pool.untyped))
        for capability in (held.task.vspace, held.task.cnode, endpoint_of(session), held.task.notification):
            with contextlib.suppress(ServiceError, InvalidMessage, KernelError):
                session.attach(SharedMemory(capability.cptr))
                return True
    return None
