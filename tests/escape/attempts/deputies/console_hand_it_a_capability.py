"""Send a capability along with each method, where none is wanted, and ask what has become of it.

Stopped by: sdk
Outside: no, what nobody asks for is deleted
"""

from __future__ import annotations

import contextlib

from libsel4py import Endpoint
from libsel4py.errors import Timeout
from libsel4py.lowlevel.syscalls import Message
from libsel4py.wire import Outcome
from tests.escape.held import Held

SERVERS = ("console", "serial", "sigma0", "mapper", "pager", "supervision", "pong")
WORDS = (1, 2, 3, 4)


def attempt(held: Held) -> object:
    asked = 0
    for name in SERVERS:
        endpoint = Endpoint(held.task.environment.connections[name].cptr)
        for label in range(1, 5):
            for cptr in held.strange()[:4]:
                with contextlib.suppress(Timeout):
                    answer = endpoint.call(Message(label, WORDS, (cptr,)), 0.01)
                    asked += 1
                    if answer.label == Outcome.OK:
                        return answer
    assert asked > len(SERVERS), "nobody answers at all"
    return None
