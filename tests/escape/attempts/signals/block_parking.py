"""Take over the signal by which the kernel stops threads.

Stopped by: seccomp
Outside: works
"""

from __future__ import annotations

import signal

from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    signal.signal(signal.SIGURG, lambda number, frame: None)
    return True
