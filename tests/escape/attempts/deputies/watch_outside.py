"""Be told of what changes in another part of the file system.

Stopped by: server
Outside: granted
"""

from __future__ import annotations

from libsel4py.interfaces.file import Directory
from libsel4py.lending import lend
from tests.escape.held import Held


def attempt(held: Held) -> object:
    with lend(held.task, 17) as pool:
        session = Directory(held.files.session(pool.untyped))
        session.watch("private", held.task.notification)
    return True
