"""Read a file of another part of the tree than one's own, by the directory that the namespace gives.

Stopped by: server
Outside: granted
"""

from __future__ import annotations

from libsel4py.interfaces.file import Directory
from libsel4py.interfaces.namespace import Namespace
from tests.escape.held import Held
from tests.escape.other import SECRET


def attempt(held: Held) -> object:
    rest, endpoint = held.to(Namespace, "tree").resolve("/private/secret")
    return Directory(endpoint).stat(rest).size == len(SECRET)
