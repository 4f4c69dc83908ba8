"""What a memory object wants of its pager, asked for one after the other, and the end of that where there is none.

An object may be another task's, and hostile: whom the pager answers wait while it asks. So there are bounds, of the
number of requests and of the time that the object takes to say them; the work that a request makes counts as none of
that, since an honest object may ask for much.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from libsel4py.interfaces.memory_object import MOST_REQUESTS, LockRequest, MemoryObject


class Unending(Exception):
    """The object wants ever more, or takes too long to say what; the text says which."""


def wanted_by(source: MemoryObject, patience: float | None) -> Iterator[LockRequest]:
    """Each request; it is completed when the next one is asked for.

    Args:
        patience: seconds for all the object's answers together; None: it is no other task's, and has none to wait for.
    Raises:
        Unending: there are more than `MOST_REQUESTS`, or they took longer.
    """
    taken = 0.0
    for number in range(MOST_REQUESTS + 1):
        begun = time.monotonic()
        request = source.lock_next()
        taken += time.monotonic() - begun
        if request is None:
            return
        if number == MOST_REQUESTS:
            raise Unending(f"it asked for more than {MOST_REQUESTS} things behind one signal")
        yield request
        begun = time.monotonic()
        source.lock_completed(request.ticket)
        taken += time.monotonic() - begun
        if patience is not None and taken > patience:
            raise Unending(f"it took more than {patience:g} s to say what it wants")
