"""Read what somebody else has published for itself alone: the value, its name in the list, the capability.

Stopped by: server
Outside: granted
"""

from __future__ import annotations

import contextlib

from libsel4py.errors import ServiceError
from libsel4py.interfaces.data_store import DataStore
from tests.escape.held import Held
from tests.escape.other import SECRET


def attempt(held: Held) -> object:
    store = held.to(DataStore, "store")
    with contextlib.suppress(ServiceError):
        return store.retrieve_capability("other/secret")
    listed = any(each.name == "other/secret" for each in store.names("other/"))
    return store.retrieve("other/secret") == SECRET and listed
