"""Let everybody of the same user be one's debugger.

Stopped by: seccomp
Outside: works
"""

from __future__ import annotations

import errno

from tests.escape import linux
from tests.escape.attempt import NotHere
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    try:
        linux.prctl(0x59616D61, (1 << 64) - 1)
    except OSError as error:
        if error.errno == errno.EINVAL:
            raise NotHere("this host has no Yama") from error
        raise
    return True
