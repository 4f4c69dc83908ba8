"""Narrow one's rules to more than they are, and connect by that.

Stopped by: server
Outside: granted
"""

from __future__ import annotations

from libsel4py.interface import with_timeout
from libsel4py.interfaces.network import Kind, Network
from tests.escape.held import SECONDS, Held
from tests.escape.other import HOST, PORT


def attempt(held: Held) -> object:
    wider = Network(held.to(Network, "network").narrow(["all", f"connect tcp {HOST}:{PORT}"]))
    with held.pool(20) as pool:
        session = with_timeout(Network(wider.session(pool.untyped)), SECONDS)
        return session.connect(session.socket(Kind.STREAM, 4), HOST, PORT, int(SECONDS * 1e9 / 2))
