"""Make and empty files where one may read.

Stopped by: server
Outside: granted
"""

from __future__ import annotations

from libsel4py.interfaces.file import OpenFlags
from tests.escape.held import Held


def attempt(held: Held) -> object:
    with held.files_session() as session:
        number, _, _ = session.open_number("made", OpenFlags.READ | OpenFlags.WRITE | OpenFlags.CREATE)
        session.truncate_number(number, 0)
    return True
