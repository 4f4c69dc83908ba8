"""Open a file of another part of a disk's file system than one's own.

Stopped by: server
Outside: granted
"""

from __future__ import annotations

from libsel4py.interfaces.file import OpenFlags
from tests.escape.held import Held
from tests.escape.other import SECRET


def attempt(held: Held) -> object:
    with held.files_session() as session, held.memory() as (space, mapping):
        session.attach(space.share())
        number, size, _ = session.open_number("private/secret", OpenFlags.READ)
        session.read_number(number, 0, size, 0)
        return mapping.read(0, size) == SECRET
