"""Have a name that a terminal or a file system would obey.

Stopped by: kernel
Outside: no, a name is shown without what a terminal obeys
"""

from __future__ import annotations

from libsel4py.capabilities import TCB
from tests.escape import slots
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    for name in ("\x1b[2J", "../../x", "a/b", "\n", "x" * 31):
        TCB(slots.OWN_TCB).set_name(name)
    return None
