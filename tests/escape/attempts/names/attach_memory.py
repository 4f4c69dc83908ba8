"""Attach System V memory of the victim's.

Stopped by: seccomp, namespaces
Outside: works
"""

from __future__ import annotations

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    return stage.is_secret(linux.bytes_at(linux.system_call("shmat", stage.shm, 0, 0), 16))
