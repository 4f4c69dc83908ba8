"""Says which things it could do that layers of the sandbox stop, a line each in its log; ends with 0."""

from __future__ import annotations

import ctypes
import os
import resource
import socket
from collections.abc import Callable


def _capabilities() -> bool:
    words = (ctypes.c_uint32 * 6)()
    head = (ctypes.c_uint32 * 2)(0x20080522, 0)
    # The filter does not let it ask, which also tells of other processes.
    return ctypes.CDLL(None).capget(head, words) == 0 and any(words)


def _works(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except OSError:
        return False
    return True


def main(*_: int) -> int:
    could = {
        "seccomp": _works(lambda: socket.socketpair()[0].close()),
        "landlock": _works(lambda: open("/proc/self/status").close()),
        "tree": os.path.exists("/etc/passwd"),
        "namespaces": os.uname().nodename != "sel4py",
        "limits": resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 64,
        "capabilities": _capabilities(),
        "pid": os.getppid() != 0,
        "dumpable": ctypes.CDLL(None).prctl(3, 0, 0, 0, 0) == 1,
    }
    print(*(name for name, worked in could.items() if worked), flush=True)
    assert os.environ == {}
    return 3
