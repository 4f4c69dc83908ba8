"""Give up a shared table of descriptors, by a call that also makes namespaces.

Stopped by: seccomp
Outside: works
"""

from __future__ import annotations

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    linux.system_call("unshare", 0x400)
    return True
