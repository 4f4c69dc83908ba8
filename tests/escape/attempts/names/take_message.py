"""Take a message from the victim's queue.

Stopped by: seccomp, namespaces
Outside: works
"""

from __future__ import annotations

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    place = linux.buffer(64)
    linux.system_call("msgrcv", stage.msg, place, 32, 0, 0o4000)
    return stage.is_secret(linux.bytes_at(place + 8, 16))
