"""Seal every descriptor that there is against writing, so that its other holders cannot.

Stopped by: seccomp
Outside: works
"""

from __future__ import annotations

import contextlib
import fcntl
import os

from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    made = 3
    with contextlib.suppress(OSError):
        made = os.memfd_create("x", os.MFD_ALLOW_SEALING)
    fcntl.fcntl(made, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)
    return True
