"""Become another user towards files alone.

Stopped by: seccomp, capabilities
Outside: root
"""

from __future__ import annotations

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    linux.system_call(122, 65534)
    return linux.system_call(122, 65534) == 65534
