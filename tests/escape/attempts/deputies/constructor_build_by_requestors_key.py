"""Put a hole into a component by the key of who asks for it.

Stopped by: server
Outside: no, behind the seal nobody may
"""

from __future__ import annotations

import contextlib

from libsel4py.errors import InvalidMessage, ServiceError
from libsel4py.interfaces.constructor import Constructor, Requestor
from tests.escape.held import Held


def attempt(held: Held) -> object:
    key = held.other.key()
    assert Requestor(key).holes() == []
    builder = Constructor(key)
    with contextlib.suppress(ServiceError, InvalidMessage):
        builder.install("hole", "x:X", held.task.notification)
        return True
    with contextlib.suppress(ServiceError, InvalidMessage):
        builder.program("apps.pong.main", "x:X", 24, 14)
        return True
    return Requestor(key).holes()
