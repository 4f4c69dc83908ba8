"""Order the reincarnation server what root orders it, and carry out what it orders root.

Stopped by: server
Outside: no, root asks for nothing there; it is asked
"""

from __future__ import annotations

import contextlib

from libsel4py.interface import endpoint_of, with_timeout
from libsel4py.interfaces.lifecycle import Change, Lifecycle, Stop
from libsel4py.interfaces.supervision import Supervision
from tests.escape.held import REFUSED, SECONDS, Held


def attempt(held: Held) -> object:
    supervision = held.to(Supervision, "supervision")
    lifecycle = with_timeout(Lifecycle(endpoint_of(supervision)), SECONDS)
    assert supervision.supervised()
    for method, arguments in (
        ("groups", ()),
        ("change", (Change(ends=tuple(range(1, 30))),)),
        ("ask_to_stop", (3, Stop(0.0))),
        ("orders", (0,)),
        ("end_system", (1, 0, "because")),
    ):
        with contextlib.suppress(*REFUSED):
            getattr(lifecycle, method)(*arguments)
            return True
    return None
