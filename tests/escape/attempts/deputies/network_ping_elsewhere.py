"""Ping another address than that of one's rule.

Stopped by: server
Outside: granted
"""

from __future__ import annotations

from libsel4py.interfaces.network import Network
from tests.escape.held import SECONDS, Held
from tests.escape.other import HOST


def attempt(held: Held) -> object:
    return held.to(Network, "network").ping(HOST, 8, int(SECONDS * 1e9 / 2)) >= 0
