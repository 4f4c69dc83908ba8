"""Ask for the right to write, of a session and of what that has narrowed.

Stopped by: server
Outside: granted
"""

from __future__ import annotations

from libsel4py.interfaces.file import Access, Directory
from tests.escape.held import Held


def attempt(held: Held) -> object:
    with held.files_session() as session:
        narrow = Directory(session.narrow("", Access.READ | Access.WRITE))
        assert narrow.list("") is not None
        narrow.make_directory("made by more")
    return True
