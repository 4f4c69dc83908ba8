"""Read from open files by the numbers that other sessions have.

Stopped by: server
Outside: no, a file's number counts in its session alone
"""

from __future__ import annotations

import contextlib

from libsel4py.dataspace import DataSpace
from libsel4py.errors import ServiceError
from libsel4py.interfaces.file import Directory
from libsel4py.lending import lend
from tests.escape.held import Held


def attempt(held: Held) -> object:
    with lend(held.task, 17) as pool, DataSpace.allocate(1 << 14) as space:
        session = Directory(held.files.session(pool.untyped))
        session.attach(space.share())
        for number in range(300):
            with contextlib.suppress(ServiceError):
                return session.read_number(number, 0, 16, 0) + 1
    return None
