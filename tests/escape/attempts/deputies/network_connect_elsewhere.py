"""Connect to another port than that of one's rule.

Stopped by: server
Outside: granted
"""

from __future__ import annotations

from libsel4py.interfaces.network import Kind
from tests.escape.held import SECONDS, Held
from tests.escape.other import HOST, PORT


def attempt(held: Held) -> object:
    with held.network_session() as session:
        number = session.socket(Kind.STREAM, 4)
        return session.connect(number, HOST, PORT, int(SECONDS * 1e9 / 2))
