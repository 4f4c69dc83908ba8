"""Have the store signal what cannot be signalled, so that it does not come to the end of others' changes.

Stopped by: server
Outside: no, it is no notification that can be signalled
"""

from __future__ import annotations

import contextlib

from libsel4py.abi import ObjectType, Rights
from libsel4py.capabilities import Notification
from libsel4py.errors import InvalidMessage, ServiceError
from libsel4py.interfaces.data_store import DataStore
from tests.escape.held import Held


def attempt(held: Held) -> object:
    store, task = held.to(DataStore, "store"), held.task
    own = task.memory.allocate(ObjectType.NOTIFICATION).start
    reader, slot = task.slots.allocate(), task.slots.allocate()
    task.cnode.copy(reader, task.cnode, own, Rights.READ)
    task.cnode.copy(slot, task.cnode, own, Rights.ALL)
    nobody = task.memory.allocate(ObjectType.ENDPOINT).start
    for number, cptr in enumerate((reader, nobody, task.cnode.cptr, slot)):
        with contextlib.suppress(ServiceError, InvalidMessage):
            store.subscribe("other/beats"[: 5 + number], Notification(cptr))
    task.memory.free(own)  # and those that could be are gone
    task.memory.free(nobody)
    harmed = held.other.harmed()
    for number in range(4):
        store.unsubscribe("other/beats"[: 5 + number])
    return harmed
