"""Write by a session that was opened with the right to read.

Stopped by: server
Outside: granted
"""

from __future__ import annotations

from libsel4py.interfaces.file import Directory
from libsel4py.lending import lend
from tests.escape.held import Held


def attempt(held: Held) -> object:
    with lend(held.task, 17) as pool:
        Directory(held.files.session(pool.untyped)).make_directory("made by a session")
    return True
