"""Publish and subscribe until the store has no room for others.

Stopped by: server
Outside: no, a client's part of it is bounded
"""

from __future__ import annotations

import contextlib
import itertools

from libsel4py.errors import ServiceError
from libsel4py.interfaces.data_store import MOST_VALUE_BYTES, DataStore
from tests.escape.held import Held


def attempt(held: Held) -> object:
    store = held.to(DataStore, "store")
    for kind in ("value", "capability", "subscription"):
        with contextlib.suppress(ServiceError):
            for number in itertools.count():
                name = f"{kind}{number}".ljust(64, "x")
                if kind == "value":
                    store.publish(name, bytes(MOST_VALUE_BYTES))
                elif kind == "capability":
                    store.publish_capability(name, held.task.notification, 0)
                else:
                    store.subscribe(name, held.task.notification)
    harmed = held.other.harmed() or not held.other.publishes_capability()
    for each in store.names(""):
        with contextlib.suppress(ServiceError):
            store.delete(each.name)
    for number in range(64):
        store.unsubscribe(f"subscription{number}".ljust(64, "x"))
    return harmed
