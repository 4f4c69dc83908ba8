"""Take back that programs give no rights (no_new_privs).

Stopped by: seccomp
Outside: no, nobody can take it back
"""

from __future__ import annotations

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    linux.prctl(38, 0)
    return True
