"""Mount in, and narrow to more than, a namespace that was narrowed to be read.

Stopped by: server
Outside: no, it was narrowed so
"""

from __future__ import annotations

import contextlib

from libsel4py.errors import ServiceError
from libsel4py.interfaces.file import Access, Directory
from libsel4py.interfaces.namespace import Namespace
from tests.escape.held import Held


def attempt(held: Held) -> object:
    tree = held.to(Namespace, "tree")
    reader = Namespace(tree.narrow("/", Access.READ))
    _, endpoint = reader.resolve("/")
    directory = Directory(endpoint)
    assert directory.stat("").kind == 2
    with contextlib.suppress(ServiceError):
        directory.make_directory("made by a reader")
        return True
    with contextlib.suppress(ServiceError):
        reader.mount("/own", endpoint)
        return True
    with contextlib.suppress(ServiceError):
        _, wider = Namespace(reader.narrow("/", Access.ALL)).resolve("/")
        Directory(wider).make_directory("made by more")
        return True
    return None
