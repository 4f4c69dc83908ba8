"""Hear what others send to a port that was bound by itself, although no rule lets one listen there.

Stopped by: server
Outside: granted
"""

from __future__ import annotations

from libsel4py.interfaces.network import AGAIN, Kind
from tests.escape.held import Held
from tests.escape.other import SECRET

WAIT_NS = 50_000_000


def attempt(held: Held) -> object:
    with held.network_session() as session, held.memory() as (space, mapping):
        session.attach(space.share())
        number = session.socket(Kind.DATAGRAM, 4)
        port = session.bind(number, "", 0)
        held.other.send_to(port)
        came = session.receive_from(number, len(SECRET), 0, WAIT_NS)
        return came.length != AGAIN and mapping.read(0, came.length) == SECRET
