"""The host's time slice: how soon a thread that wakes up gets a processor on which another one runs.

A host of two processors puts three busy processes on them as it likes, and looks again at its clock's ticks, 4 ms
apart. Among threads with short slices it looks when one wakes up. Linux 6.12 and later let every user ask for a slice
(`sched_runtime` of SCHED_OTHER in sched_setattr(2)); earlier ones ignore the wish. What is forked inherits it.

Rules: it changes latency and nobody's share of the processor. Nothing may depend on its being granted.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from typing import Final

SLICE_NS: Final = 100_000  # the least that Linux grants

_SET_ATTRIBUTES: Final = {"x86_64": 314, "aarch64": 274}
_GET_ATTRIBUTES: Final = {"x86_64": 315, "aarch64": 275}
_ATTRIBUTES: Final = struct.Struct("<IIQiIQQQ")  # size, policy, flags, nice, priority, runtime, deadline, period
_RESET_ON_FORK: Final = 1
_TIME_SHARED: Final = (os.SCHED_OTHER, os.SCHED_BATCH)

_libc = ctypes.CDLL(None, use_errno=True)


def slice_ns(pid: int = 0) -> int:
    """The slice of a thread (0: the calling one), in nanoseconds; 0 where the host keeps none that can be asked for."""
    try:
        _, policy, _, _, _, runtime, _, _ = _attributes(pid)
    except (OSError, KeyError):
        return 0
    return runtime if policy in _TIME_SHARED else 0


def ask_for_short_slice(pid: int = 0) -> bool:
    """Ask for the shortest slice for a thread (0: the calling one). Returns whether the host has granted it."""
    try:
        size, policy, flags, nice, priority, _, deadline, period = _attributes(pid)
        if policy not in _TIME_SHARED:
            return False
        wish = _ATTRIBUTES.pack(size, policy, flags & _RESET_ON_FORK, nice, priority, SLICE_NS, deadline, period)
        _system_call(_SET_ATTRIBUTES, pid, wish, 0)
    except (OSError, KeyError):
        return False
    return slice_ns(pid) == SLICE_NS


def _attributes(pid: int) -> tuple[int, int, int, int, int, int, int, int]:
    buffer = ctypes.create_string_buffer(_ATTRIBUTES.size)
    _system_call(_GET_ATTRIBUTES, pid, buffer, _ATTRIBUTES.size, 0)
    _, policy, flags, nice, priority, runtime, deadline, period = _ATTRIBUTES.unpack(buffer.raw)
    return _ATTRIBUTES.size, policy, flags, nice, priority, runtime, deadline, period


def _system_call(numbers: dict[str, int], *arguments: object) -> None:
    if _libc.syscall(ctypes.c_long(numbers[platform.machine()]), *arguments) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
