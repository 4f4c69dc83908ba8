"""Have a file read into memory of somebody else's that one may read.

Stopped by: server
Outside: granted
"""

from __future__ import annotations

from libsel4py.interfaces.file import Directory, OpenFlags
from libsel4py.interfaces.namespace import Namespace
from tests.escape.held import Held
from tests.escape.other import PAGE

TEXT = b"not its own"
ALL = OpenFlags.READ | OpenFlags.WRITE | OpenFlags.CREATE


def attempt(held: Held) -> object:
    _, endpoint = held.to(Namespace, "tree").resolve("/")
    with held.pool(17) as pool, held.memory() as (space, mapping), held.canary() as canary:
        session = Directory(Directory(endpoint).session(pool.untyped))
        session.attach(space.share())
        number, _, _ = session.open_number("words", ALL)
        mapping.write(0, TEXT)
        session.write_number(number, 0, len(TEXT), 0)
        session.attach(canary.share())
        return session.read_number(number, 0, len(TEXT), PAGE // 2) == len(TEXT)
