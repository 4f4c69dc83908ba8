"""Take connections at a port of which no rule speaks; at any free one; at one without having bound it.

Stopped by: server
Outside: granted
"""

from __future__ import annotations

import contextlib

from libsel4py.errors import ServiceError
from libsel4py.interfaces.network import Kind
from tests.escape.held import Held


def attempt(held: Held) -> object:
    with held.network_session() as session:
        for port in (8080, 0):
            with contextlib.suppress(ServiceError):
                number = session.socket(Kind.STREAM, 4)
                session.bind(number, "", port)
                session.listen(number, 1)
                return True
        session.listen(session.socket(Kind.STREAM, 4), 1)
    return True
