"""Make oneself dumpable again, so that others of the user can read what was shared with one.

Stopped by: seccomp
Outside: works
"""

from __future__ import annotations

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    linux.prctl(4, 1)
    return True
