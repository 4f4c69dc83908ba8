"""Be the server of names oneself, answer with an address that one may not reach, and connect to the name.

Stopped by: server
Outside: granted
"""

from __future__ import annotations

import contextlib

from libsel4py.errors import ServiceError, Timeout
from libsel4py.interface import with_timeout
from libsel4py.interfaces.network import Kind, Network
from tests.escape.held import BUFFER_BYTES, SECONDS, Held
from tests.escape.other import HOST, PORT

DNS, NAME = 53, "rebound.example"
WAIT_NS = int(SECONDS * 1e9 / 2)
ANSWER = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4" + bytes(map(int, HOST.split(".")))


def attempt(held: Held) -> object:
    network = held.to(Network, "network")
    with held.network_session() as session, held.memory() as (space, mapping):
        session.attach(space.share())
        number = session.socket(Kind.DATAGRAM, 4)
        session.bind(number, "", DNS)
        with contextlib.suppress(Timeout):
            with_timeout(network, 0.001).lookup(NAME, WAIT_NS)
        came = session.receive_from(number, BUFFER_BYTES, 0, WAIT_NS)
        question = mapping.read(0, came.length)
        answer = question[:2] + b"\x81\x80\0\1\0\1\0\0\0\0" + question[12:] + ANSWER
        mapping.write(0, answer)
        session.send_to(number, len(answer), 0, came.peer)
        assert network.lookup(NAME, WAIT_NS) == [HOST], "the name does not stand for the other one"
        with contextlib.suppress(ServiceError):
            return session.connect(session.socket(Kind.STREAM, 4), NAME, PORT, WAIT_NS)
        return session.connect(session.socket(Kind.STREAM, 4), HOST, PORT, WAIT_NS)
