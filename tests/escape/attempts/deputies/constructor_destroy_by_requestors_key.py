"""Destroy another one's constructor by the key of who asks for its products.

Stopped by: server
Outside: granted
"""

from __future__ import annotations

from libsel4py.interfaces.constructor import Constructor
from tests.escape.held import Held


def attempt(held: Held) -> object:
    Constructor(held.other.key()).destroy()
    return True
