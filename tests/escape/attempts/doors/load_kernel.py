"""Load another host kernel: with flags that it does not know.

Stopped by: seccomp, capabilities
Outside: root
"""

from __future__ import annotations

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    return linux.is_reached("kexec_load", 0, 0, 0, 0xFF)
