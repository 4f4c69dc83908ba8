"""Read, lock and close open files by the numbers that other sessions have.

Stopped by: server
Outside: no, a file's number counts in its session alone
"""

from __future__ import annotations

import contextlib

from libsel4py.errors import ServiceError
from tests.escape.held import Held


def attempt(held: Held) -> object:
    number = held.told().file
    with held.files_session() as session, held.memory() as (space, _):
        session.attach(space.share())
        for each in (number, *range(64)):
            for ask in (
                lambda number: session.read_number(number, 0, 16, 0) + 1,
                session.file,
                lambda number: session.reclaim_number(number, True),
                session.close_number,
            ):
                with contextlib.suppress(ServiceError):
                    ask(each)
                    return True
    return None
