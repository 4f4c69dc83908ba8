"""Publish under a name of somebody else's, as a value and as a capability, and take it back.

Stopped by: server
Outside: no, a name is its publisher's
"""

from __future__ import annotations

import contextlib

from libsel4py.errors import ServiceError
from libsel4py.interfaces.data_store import DataStore, Publish
from tests.escape.held import Held


def attempt(held: Held) -> object:
    store = held.to(DataStore, "store")
    store.publish("own", 1)
    store.publish("own", 2, Publish.OVERWRITE)
    for flags in (0, Publish.OVERWRITE, Publish.PRIVATE | Publish.OVERWRITE, (1 << 64) - 1):
        with contextlib.suppress(ServiceError):
            store.publish("other/secret", 1, flags)
            return True
        with contextlib.suppress(ServiceError):
            store.publish_capability("other/secret", held.task.notification, flags)
            return True
    with contextlib.suppress(ServiceError):
        store.delete("other/secret")
        return True
    store.delete("own")
    return None
