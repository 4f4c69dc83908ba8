"""Mount a directory of one's own where another one's part of the tree is.

Stopped by: server
Outside: granted
"""

from __future__ import annotations

from libsel4py.interfaces.namespace import Namespace
from tests.escape.held import Held


def attempt(held: Held) -> object:
    tree = held.to(Namespace, "tree")
    _, endpoint = tree.resolve("/")
    tree.mount("/private/beside", endpoint)
    try:
        assert "/private/beside" in [each.path for each in tree.mounts()]
        return "/beside" in held.other.mounts()
    finally:
        tree.unmount("/private/beside")
