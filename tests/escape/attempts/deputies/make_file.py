"""Make a file where one may read.

Stopped by: server
Outside: granted
"""

from __future__ import annotations

from tests.escape.held import Held


def attempt(held: Held) -> object:
    held.files.make_directory("made")
    return True
