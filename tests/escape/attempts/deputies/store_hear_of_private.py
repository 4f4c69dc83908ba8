"""Subscribe to names that somebody else has published for itself alone.

Stopped by: server
Outside: granted
"""

from __future__ import annotations

from libsel4py.interfaces.data_store import DataStore
from tests.escape.held import Held


def attempt(held: Held) -> object:
    store = held.to(DataStore, "store")
    store.subscribe("other/", held.task.notification)
    try:
        held.other.publish()
        changed = store.changed("other/")
        assert "other/beats" in changed.names, "it is told of nothing at all"
        return "other/secret" in changed.names
    finally:
        store.unsubscribe("other/")
