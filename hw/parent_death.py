"""A process that does not outlive its parent."""

from __future__ import annotations

import ctypes
import os
import signal
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent(parent: int) -> None:
    """Have the host kill this process when its parent (the thread that forked it) ends. prctl(2), PR_SET_PDEATHSIG.

    Args:
        parent: who the parent was when this process was made. If it is gone already, this process ends now.
    Raises:
        OSError: the host refuses.
    """
    if _libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0) < 0:
        raise OSError(ctypes.get_errno(), f"prctl(PR_SET_PDEATHSIG): {os.strerror(ctypes.get_errno())}")
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)
