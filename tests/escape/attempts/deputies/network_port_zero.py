"""Connect and send to ports that are none: 0, negative ones, and ones that are the forbidden one in 16 bits.

Stopped by: server
Outside: no, there are no such ports
"""

from __future__ import annotations

import contextlib

from libsel4py.interfaces.network import Address, Kind
from tests.escape.held import REFUSED, Held
from tests.escape.other import HOST, PORT

PORTS = (0, -1, PORT + (1 << 16), PORT - (1 << 16), 80 + (PORT - 80) * 0x1_0001, (1 << 32) + PORT, 1 << 63)


def attempt(held: Held) -> object:
    with held.network_session() as session, held.memory() as (space, _):
        session.attach(space.share())
        for port in PORTS:
            number = session.socket(Kind.STREAM, 4)
            datagrams = session.socket(Kind.DATAGRAM, 4)
            with contextlib.suppress(*REFUSED, ValueError, TypeError):
                return session.connect(number, HOST, port, 0) or True
            with contextlib.suppress(*REFUSED, ValueError, TypeError):
                return session.send_to(datagrams, 1, 0, Address(HOST, port)) or True
            session.close_socket(number)
            session.close_socket(datagrams)
    return None
