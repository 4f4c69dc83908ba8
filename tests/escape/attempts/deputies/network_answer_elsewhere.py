"""Send to another port of who has been heard at a port where one may listen.

Stopped by: server
Outside: granted
"""

from __future__ import annotations

from libsel4py.interfaces.network import Address, Kind
from tests.escape.held import SECONDS, Held
from tests.escape.other import SECRET

DNS = 53


def attempt(held: Held) -> object:
    with held.network_session() as session, held.memory() as (space, _):
        session.attach(space.share())
        number = session.socket(Kind.DATAGRAM, 4)
        session.bind(number, "", DNS)
        held.other.send_to(DNS)
        came = session.receive_from(number, len(SECRET), 0, int(SECONDS * 1e9 / 2))
        assert came.length == len(SECRET), came
        return session.send_to(number, 1, 0, Address(came.peer.host, came.peer.port + 1))
