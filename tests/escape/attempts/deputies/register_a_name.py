"""Give the name of another server to one's own endpoint.

Stopped by: server
Outside: no, only who provides a name may give it
"""

from __future__ import annotations

from libsel4py.interface import endpoint_of
from tests.escape.held import Held


def attempt(held: Held) -> object:
    held.names.register("pong", "libsel4py.interfaces.ping:Ping", endpoint_of(held.files))
    return True
