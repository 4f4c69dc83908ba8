"""Receive what others send to a server.

Stopped by: kernel
Outside: granted
"""

from __future__ import annotations

from libsel4py.capabilities import Endpoint, Reply
from tests.escape import slots
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    Endpoint(slots.WITNESS).nb_recv(Reply(slots.REPLY))
    return True
