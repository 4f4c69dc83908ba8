"""Take the memory of a session away while the server uses it.

Stopped by: server
Outside: no, it takes one's own back
"""

from __future__ import annotations

import contextlib

from libsel4py.dataspace import DataSpace
from libsel4py.errors import InvalidMessage, KernelError, ServiceError
from libsel4py.interfaces.file import Directory
from libsel4py.lending import lend
from tests.escape.held import Held


def attempt(held: Held) -> object:
    for _ in range(5):
        pool, space = lend(held.task, 17), DataSpace.allocate(1 << 14)
        session = Directory(held.files.session(pool.untyped))
        session.attach(space.share())
        pool.free()
        space.close()
        with contextlib.suppress(ServiceError, InvalidMessage, KernelError):
            session.list("")
    return None
