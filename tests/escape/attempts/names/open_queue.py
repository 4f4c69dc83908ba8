"""Open the victim's POSIX queue by its name.

Stopped by: seccomp, namespaces, landlock
Outside: works
"""

from __future__ import annotations

import os

from tests.escape import linux
from tests.escape.attempt import NotHere
from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    if not stage.queue:
        raise NotHere("this host has no POSIX queues")
    return linux.system_call("mq_open", linux.text(stage.queue), os.O_RDWR, 0, 0) > 0
