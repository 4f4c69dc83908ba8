"""Send, receive and listen by the numbers that sockets have in other sessions, and hand them on.

Stopped by: server
Outside: no, a socket's number counts in its session alone
"""

from __future__ import annotations

import contextlib

from libsel4py.errors import ServiceError
from libsel4py.interfaces.network import Events, Kind
from tests.escape.held import Held


def attempt(held: Held) -> object:
    told = held.told()
    with held.network_session() as session, held.memory() as (space, _):
        session.attach(space.share())
        own = session.socket(Kind.STREAM, 4)
        session.close_socket(own)
        for number in (told.udp, told.tcp, *range(64)):
            with contextlib.suppress(ServiceError):
                return session.wait(number, Events.WRITABLE, 0) or True
            with contextlib.suppress(ServiceError):
                return session.hand_on(number)
            with contextlib.suppress(ServiceError):
                return session.accept(number, 0)
            with contextlib.suppress(ServiceError):
                session.close_socket(number)
                return True
    return None
