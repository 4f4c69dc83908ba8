"""Makes a host system call that no task has a use for, and would say so if it went on."""

from __future__ import annotations

import ctypes


def main(*_: int) -> int:
    ctypes.CDLL(None).ptrace(16, 11, 12, 13)
    print("it went on", flush=True)
    return 0
