"""Take a session's pool and buffer away while a call waits in it.

Stopped by: server, kernel
Outside: no, it takes one's own back
"""

from __future__ import annotations

import contextlib

from libsel4py.dataspace import DataSpace
from libsel4py.errors import InvalidMessage, KernelError, ServiceError, Timeout
from libsel4py.interface import with_timeout
from libsel4py.interfaces.network import FOREVER, Events, Kind, Network
from tests.escape.held import BUFFER_BYTES, Held

WAITS = (0.0, 0.0001, 0.0002, 0.0005, 0.002)


def attempt(held: Held) -> object:
    network = held.to(Network, "network")
    for wait in WAITS:
        pool, space = held.pool(20), DataSpace.allocate(BUFFER_BYTES, held.task)
        session = Network(network.session(pool.untyped))
        session.attach(space.share())
        number = session.socket(Kind.DATAGRAM, 4)
        with contextlib.suppress(Timeout):
            with_timeout(session, wait).wait(number, Events.READABLE, FOREVER)
        with contextlib.suppress(Timeout):
            with_timeout(session, wait).receive(number, BUFFER_BYTES, 0, FOREVER)
        space.close()
        pool.free()
        with contextlib.suppress(ServiceError, KernelError, InvalidMessage):
            session.send(number, 1, 0, 0)
    return None
