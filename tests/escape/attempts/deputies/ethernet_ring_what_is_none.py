"""Have the card's driver ring at what is no notification: an endpoint at which nobody receives.

Stopped by: server
Outside: no, it is no notification
"""

from __future__ import annotations

import contextlib

from libsel4py.abi import ObjectType
from libsel4py.bulk import Producer
from libsel4py.capabilities import Notification
from libsel4py.errors import ServiceError
from libsel4py.interfaces.ethernet import HEADROOM, Ethernet, buffer_bytes, opening_bytes, ring_layout
from tests.escape.held import Held

ROUNDS, BUFFERS, SIZE = 16, 4, buffer_bytes(1500)
FRAME = b"\xff" * 6 + b"\2\0\0\0\0\1" + b"\x88\xb5" + bytes(46)


def attempt(held: Held) -> object:
    card = held.to(Ethernet, "ethernet")
    nobody = held.task.memory.allocate(ObjectType.ENDPOINT).start
    with held.memory(opening_bytes(BUFFERS, BUFFERS, SIZE)) as (space, mapping):
        card.open(space.share(), BUFFERS, BUFFERS, SIZE)
        try:
            with contextlib.suppress(ServiceError):
                bell = card.bells(Notification(nobody))
                out = Producer(mapping, ring_layout(BUFFERS, SIZE), bell.signal)
                for _ in range(ROUNDS):
                    buffer = out.acquire_nowait()
                    if buffer is not None:
                        buffer.view[HEADROOM : HEADROOM + len(FRAME)] = FRAME
                        out.submit(buffer, len(FRAME), start=HEADROOM)
                    out.arm(BUFFERS)  # the driver is to ring when it is done
                    bell.signal()
                    card.state()
                out.close()
            card.state()
            card.close()
        finally:
            held.task.memory.free(nobody)
    return None
