"""Call every server with the labels of every other.

Stopped by: server
Outside: no, a server answers its own alone
"""

from __future__ import annotations

import contextlib

from libsel4py.errors import Timeout
from libsel4py.lowlevel import syscalls
from libsel4py.lowlevel.syscalls import Message
from tests.escape.held import Held


def attempt(held: Held) -> object:
    for label in (*range(0x100, 0x120), 1 << 20, 1 << 51):
        for endpoint in held.endpoints():
            with contextlib.suppress(Timeout):
                syscalls.call(endpoint, Message(label, (1, 2, 3)), 0.01)
    return None
