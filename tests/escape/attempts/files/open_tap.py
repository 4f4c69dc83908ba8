"""Open the host's facility for network cards.

Stopped by: landlock, seccomp
Outside: root
"""

from __future__ import annotations

import os

from tests.escape.attempt import NotHere
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    if not os.path.exists("/dev/net/tun"):
        raise NotHere("there is no /dev/net/tun")
    os.close(os.open("/dev/net/tun", os.O_RDWR))
    return True
