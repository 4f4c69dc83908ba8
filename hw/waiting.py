"""Waiting for one descriptor: a process's end by its pidfd, a bell.

By poll(2): a monitor, or a kernel that has taken over, keeps many descriptors, and select(2) takes no number above
1,023.
"""

from __future__ import annotations

import select


def wait_readable(descriptor: int, seconds: float | None = None) -> bool:
    """Whether it can be read, as soon as it can, or after so many seconds; None: however long that takes."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(None if seconds is None else max(0.0, seconds) * 1000))
