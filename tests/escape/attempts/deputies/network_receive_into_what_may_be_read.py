"""Have what came written to memory of somebody else's that one may read.

Stopped by: server
Outside: granted
"""

from __future__ import annotations

from libsel4py.interfaces.network import AGAIN, Kind
from tests.escape.held import SECONDS, Held
from tests.escape.other import PAGE, SECRET

DNS = 53


def attempt(held: Held) -> object:
    with held.network_session() as session, held.canary() as canary:
        session.attach(canary.share())
        number = session.socket(Kind.DATAGRAM, 4)
        session.bind(number, "", DNS)
        held.other.send_to(DNS)
        came = session.receive_from(number, len(SECRET), PAGE // 2, int(SECONDS * 1e9 / 2))
        return came.length != AGAIN
