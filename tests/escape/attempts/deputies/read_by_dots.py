"""Go up from one's own part of the file system.

Stopped by: server
Outside: no, there is no such path
"""

from __future__ import annotations

import contextlib

from libsel4py.errors import ServiceError
from tests.escape.held import Held


def attempt(held: Held) -> object:
    for path in ("..", "../private", "a/../../private", "./../private", "/../private"):
        with contextlib.suppress(ServiceError):
            return held.files.list(path)
    return None
