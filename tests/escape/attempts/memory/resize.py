"""Shorten every descriptor that there is, so that its other holders meet with the end of it.

Stopped by: seccomp
Outside: works
"""

from __future__ import annotations

import contextlib
import os

from tests.escape import linux
from tests.escape.attempt import Stopped
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    with contextlib.suppress(OSError):
        os.memfd_create("x")
    for number in (0, *range(3, 64)):
        try:
            os.ftruncate(number, 0)
        except OSError as error:
            if error.errno in linux.REFUSALS:
                raise
            continue
        return True
    raise Stopped("none can be shortened")
