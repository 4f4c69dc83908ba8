"""Move a file of another part of the file system to one's own.

Stopped by: server
Outside: granted
"""

from __future__ import annotations

from libsel4py.interfaces.file import Directory, OpenFlags
from tests.escape.held import Held


def attempt(held: Held) -> object:
    files = held.to(Directory, "littlefs")
    with held.files_session() as session:
        session.close_number(session.open_number("private/moved", OpenFlags.WRITE | OpenFlags.CREATE)[0])
    files.rename("private/moved", "moved")
    return True
