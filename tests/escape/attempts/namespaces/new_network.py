"""Make a user and a network namespace.

Stopped by: seccomp
Outside: namespaces
"""

from __future__ import annotations

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    linux.system_call("unshare", 0x50000000)
    return True
