"""Read a file of another part of the file system than one's own.

Stopped by: server
Outside: granted
"""

from __future__ import annotations

from libsel4py.interfaces.file import Access, Directory
from tests.escape.held import Held


def attempt(held: Held) -> object:
    return Directory(held.files.narrow("private", Access.READ)).stat("")
