"""Speak to the console as to the serial line behind it.

Stopped by: server
Outside: no, the console is no serial line
"""

from __future__ import annotations

import contextlib

from libsel4py.errors import Timeout
from libsel4py.interface import with_timeout
from libsel4py.interfaces.console import Console
from libsel4py.interfaces.data_store import DataStore
from libsel4py.interfaces.serial import Serial
from tests.escape.held import REFUSED, Held


def attempt(held: Held) -> object:
    endpoint = held.to(Console, "console")._endpoint
    for interface, method, arguments in (
        (Serial, "read", ()),
        (Serial, "write_piece", (b"\x1b[6n",)),
        (DataStore, "names", ("",)),
    ):
        with contextlib.suppress(*REFUSED, Timeout):
            return getattr(with_timeout(interface(endpoint), 0.2), method)(*arguments)
    return None
