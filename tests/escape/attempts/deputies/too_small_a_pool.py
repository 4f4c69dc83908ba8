"""Lend a server less memory than it needs.

Stopped by: server
Outside: no, it takes what a session takes
"""

from __future__ import annotations

from libsel4py.lending import lend
from tests.escape.held import Held


def attempt(held: Held) -> object:
    return held.files.session(lend(held.task, 4).untyped)
