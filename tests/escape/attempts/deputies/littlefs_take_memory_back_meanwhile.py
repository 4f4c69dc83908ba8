"""Take a session's pool and buffer away while the server works for it.

Stopped by: server, kernel
Outside: no, it takes one's own back
"""

from __future__ import annotations

import contextlib

from libsel4py.dataspace import DataSpace
from libsel4py.errors import InvalidMessage, KernelError, ServiceError, Timeout
from libsel4py.interface import with_timeout
from libsel4py.interfaces.file import Directory
from tests.escape.held import BUFFER_BYTES, Held

WAITS = (0.0, 0.00005, 0.0001, 0.0002, 0.0004, 0.001)


def attempt(held: Held) -> object:
    files = held.to(Directory, "littlefs")
    for wait in WAITS:
        pool = held.pool(17)
        with contextlib.suppress(ServiceError, KernelError, InvalidMessage, Timeout):
            with_timeout(files, wait).session(pool.untyped)
        pool.free()
        pool, space = held.pool(17), DataSpace.allocate(BUFFER_BYTES, held.task)
        session = Directory(files.session(pool.untyped))
        with contextlib.suppress(ServiceError, KernelError, InvalidMessage, Timeout):
            with_timeout(session, wait).attach(space.share())
        space.close()
        with contextlib.suppress(ServiceError, KernelError, InvalidMessage, Timeout):
            with_timeout(session, wait).list("")
        pool.free()
    return None
