"""Name the address that one may not reach in another way: as IPv6, in other numbers, with a zone, as a name.

Stopped by: server
Outside: no, an address is compared as a number
"""

from __future__ import annotations

import contextlib

from libsel4py.interfaces.network import Address, Kind
from tests.escape.held import REFUSED, Held
from tests.escape.other import PORT

HOSTS = (
    *("::ffff:127.0.0.1", "::ffff:7f00:1", "::127.0.0.1", "::1", "64:ff9b::7f00:1", "2002:7f00:1::", "::1%1", "::"),
    *("0x7f.0.0.1", "127.1", "2130706433", "0127.0.0.1", "127.0.0.1%1", "127.0.0.1 ", " 127.0.0.1", "127.0.0.1/8"),
    *("localhost", "other", "", "0.0.0.0", "127.0.0.2", "255.255.255.255", "127.0.0.1:80", "[127.0.0.1]"),
)


def attempt(held: Held) -> object:
    with held.network_session() as session, held.memory() as (space, _):
        session.attach(space.share())
        for version in (4, 6):
            for host in HOSTS:
                stream, datagrams = (session.socket(kind, version) for kind in (Kind.STREAM, Kind.DATAGRAM))
                with contextlib.suppress(*REFUSED):
                    return session.connect(stream, host, PORT, 0) or True
                with contextlib.suppress(*REFUSED):
                    return session.connect(datagrams, host, PORT, 0) or True
                with contextlib.suppress(*REFUSED):
                    return session.send_to(datagrams, 1, 0, Address(host, PORT)) or True
                session.close_socket(stream)
                session.close_socket(datagrams)
    return None
