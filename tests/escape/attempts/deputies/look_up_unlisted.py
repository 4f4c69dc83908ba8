"""Look up a server that one's list of names does not have.

Stopped by: server
Outside: granted
"""

from __future__ import annotations

from tests.escape.held import Held


def attempt(held: Held) -> object:
    return held.names.lookup("pong")
