"""Have a server signal what is no notification: an endpoint at which nobody receives, and the server's own.

Stopped by: server
Outside: no, it is no notification
"""

from __future__ import annotations

import contextlib

from libsel4py.abi import ObjectType
from libsel4py.capabilities import Notification
from libsel4py.interface import endpoint_of
from tests.escape.held import REFUSED, Held


def attempt(held: Held) -> object:
    nobody = held.task.memory.allocate(ObjectType.ENDPOINT).start
    with held.files_session() as session:
        for cptr in (nobody, endpoint_of(session).cptr, held.task.cnode.cptr):
            with contextlib.suppress(*REFUSED):
                session.watch("", Notification(cptr))
        held.other.write_file()
        assert not held.other.harmed(), "others are not served any more"
    held.task.memory.free(nobody)
    return None
