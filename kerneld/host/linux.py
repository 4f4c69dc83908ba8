"""The few Linux calls that Python's standard library lacks. None is on a hot path: ctypes costs 0.3 us a call."""

from __future__ import annotations

import ctypes
import os
import time
from typing import Final

PR_SET_NAME: Final = 15

_libc = ctypes.CDLL(None, use_errno=True)


def set_process_name(name: str) -> None:
    """What ps(1) shows, cut to 15 bytes."""
    _checked(_libc.prctl(PR_SET_NAME, name.encode()[:15], 0, 0, 0), "prctl(PR_SET_NAME)")


def processor_time_us(pid: int) -> int:
    """Processor time of another process, in microseconds; 0 once it has ended. clock_getcpuclockid(3)."""
    try:
        return time.clock_gettime_ns(~pid << 3 | 2) // 1000
    except OSError:
        return 0


def _checked(result: int, what: str) -> None:
    if result < 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")
