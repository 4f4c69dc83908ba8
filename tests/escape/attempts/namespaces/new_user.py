"""Make a user namespace, in which one is root.

Stopped by: seccomp
Outside: namespaces
"""

from __future__ import annotations

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    linux.system_call("unshare", 0x10000000)
    return True
