"""Go up from one's own part of a disk's file system, in every method that takes a path.

Stopped by: server
Outside: no, there is no such path
"""

from __future__ import annotations

import contextlib

from libsel4py.interfaces.file import Access, Directory, OpenFlags
from tests.escape.held import REFUSED, Held

PATHS = ("..", "../private/secret", "./../private/secret", "/private/secret", "//private", "a/../../private", "..\0/x")


def attempt(held: Held) -> object:
    with held.files_session() as session, held.memory() as (space, _):
        session.attach(space.share())
        assert session.list("") == []
        for path in PATHS:
            for ask in (session.stat, session.list, lambda path: session.open_number(path, OpenFlags.READ)):
                with contextlib.suppress(*REFUSED):
                    return ask(path)
            with contextlib.suppress(*REFUSED):
                return Directory(session.narrow(path, Access.READ)).list("")
    return None
