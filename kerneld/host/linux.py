"""The few Linux calls that Python's standard library lacks. None is on a hot path: ctypes costs 0.3 us a call."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from typing import Final

from libsel4py.abi import Rights

PR_SET_PDEATHSIG: Final = 1
PR_SET_NAME: Final = 15
PROT_READ, PROT_WRITE = 1, 2
MAP_SHARED: Final = 1
MAP_FIXED_NOREPLACE: Final = 0x100000

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = ctypes.c_void_p
_libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)


def die_with_parent(parent: int) -> None:
    """Have the host kill this process when its parent (the thread that forked it) ends. prctl(2), PR_SET_PDEATHSIG.

    Args:
        parent: who the parent was when this process was made. If it is gone already, this process ends now.
    """
    _checked(_libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def set_process_name(name: str) -> None:
    """What ps(1) shows, cut to 15 bytes."""
    _checked(_libc.prctl(PR_SET_NAME, name.encode()[:15], 0, 0, 0), "prctl(PR_SET_NAME)")


def map_at(address: int, size: int, rights: int, descriptor: int) -> None:
    """Map memory at this address, where nothing is yet. `rights` as `abi.Rights` READ and WRITE.

    Raises:
        OSError: EEXIST if something is mapped there.
    """
    protection = PROT_READ | (PROT_WRITE if rights & Rights.WRITE else 0)
    got = _libc.mmap(address, size, protection, MAP_SHARED | MAP_FIXED_NOREPLACE, descriptor, 0)
    if got != address:
        raise OSError(ctypes.get_errno(), f"mapping {size} bytes at {address:#x}: {os.strerror(ctypes.get_errno())}")


def processor_time_us(pid: int) -> int:
    """Processor time of another process, in microseconds; 0 once it has ended. clock_getcpuclockid(3)."""
    try:
        return time.clock_gettime_ns(~pid << 3 | 2) // 1000
    except OSError:
        return 0


def _checked(result: int, what: str) -> None:
    if result < 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")
