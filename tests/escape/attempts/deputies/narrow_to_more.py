"""Ask for more rights than one's own, for a part of what one has.

Stopped by: server
Outside: granted
"""

from __future__ import annotations

from libsel4py.interfaces.file import Access, Directory
from tests.escape.held import Held


def attempt(held: Held) -> object:
    Directory(held.files.narrow("", Access.ALL)).make_directory("made by more")
    return True
