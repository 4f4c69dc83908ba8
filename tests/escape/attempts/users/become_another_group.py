"""Become another group.

Stopped by: seccomp, capabilities
Outside: root
"""

from __future__ import annotations

import os

from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    os.setgid(65534)
    return os.getgid() == 65534
