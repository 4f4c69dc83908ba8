"""Go up from one's own part of the tree, in each method of the namespace, and in the directory that it gives.

Stopped by: server
Outside: no, there is no such path
"""

from __future__ import annotations

import contextlib

from libsel4py.interface import endpoint_of
from libsel4py.interfaces.file import Access, Directory
from libsel4py.interfaces.namespace import Namespace
from tests.escape.held import REFUSED, Held

PATHS = ("/..", "/../private", "../private", "/a/../../private", "/./../private", "/..\0")


def attempt(held: Held) -> object:
    tree = held.to(Namespace, "tree")
    rest, endpoint = tree.resolve("/")
    directory = Directory(endpoint)
    assert not rest
    assert directory.stat("").kind == 2
    for path in PATHS:
        with contextlib.suppress(*REFUSED):
            rest, endpoint = tree.resolve(path)
            return Directory(endpoint).list(rest)
        with contextlib.suppress(*REFUSED):
            return Namespace(tree.narrow(path, Access.ALL)).resolve("/")
        with contextlib.suppress(*REFUSED):
            tree.mount(path, endpoint_of(directory))
            return True
        with contextlib.suppress(*REFUSED):
            return Directory(directory.narrow(path.strip("/"), Access.READ)).list("")
    return None
