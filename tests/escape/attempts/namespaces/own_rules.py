"""Make file rules of one's own (Landlock), to be laid over the first.

Stopped by: seccomp
Outside: works
"""

from __future__ import annotations

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    return linux.system_call("landlock_create_ruleset", 0, 0, 1)
