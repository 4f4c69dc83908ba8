"""Send a piece that is longer than a message, and ones that claim to be longer than they are.

Stopped by: sdk
Outside: no, a message has so many words
"""

from __future__ import annotations

from libsel4py.interface import endpoint_of
from libsel4py.interfaces.serial import Serial
from libsel4py.lowlevel.syscalls import Message
from libsel4py.wire import Outcome
from tests.escape.held import Held

CLAIMS = (953, 1 << 16, 1 << 32, (1 << 64) - 1)


def attempt(held: Held) -> object:
    endpoint = endpoint_of(held.to(Serial, "serial"))
    for claimed in CLAIMS:
        for words in ((claimed,), (claimed, *range(100)), (claimed, *[0x9191_9191_9191_9191] * 110)):
            for label in (1, 2):
                if endpoint.call(Message(label, words), 1.0).label == Outcome.OK:
                    return True
    return None
