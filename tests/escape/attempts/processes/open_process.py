"""Get a descriptor of the victim.

Stopped by: seccomp, pid
Outside: works
"""

from __future__ import annotations

import os

from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    return os.pidfd_open(stage.pid)
