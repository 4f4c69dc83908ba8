"""Open the host's facility for virtual machines.

Stopped by: landlock, seccomp
Outside: root
"""

from __future__ import annotations

import os

from tests.escape.attempt import NotHere
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    if not os.path.exists("/dev/kvm"):
        raise NotHere("there is no /dev/kvm")
    os.close(os.open("/dev/kvm", os.O_RDWR))
    return True
