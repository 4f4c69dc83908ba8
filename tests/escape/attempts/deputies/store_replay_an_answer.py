"""Ask for what somebody else was told, as a request of its own that it repeats.

Stopped by: server
Outside: no, an answer is remembered for its client
"""

from __future__ import annotations

from libsel4py.interfaces.data_store import DataStore
from libsel4py.request_ids import Lane
from tests.escape.held import Held, again


def attempt(held: Held) -> object:
    store = held.to(DataStore, "store")
    store.subscribe("own", held.task.notification)
    store.publish("own", 1)
    try:
        lane = Lane.new()
        own = again(store, (lane.name, 1)).changed("own")
        assert own.names == ["own"], own
        assert again(store, (lane.name, 1)).changed("own") == own, "no answer is remembered at all"
        return "other/secret" in again(store, held.told().store).changed("other/secret").names
    finally:
        store.unsubscribe("own")
        store.delete("own")
