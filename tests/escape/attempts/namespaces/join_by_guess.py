"""Join whatever namespace a descriptor may be of.

Stopped by: seccomp
Outside: works
"""

from __future__ import annotations

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    return all(linux.is_reached("setns", number, 0) for number in range(8))
