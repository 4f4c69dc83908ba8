"""Ask to be ended last when the host runs out of memory.

Stopped by: seccomp, landlock
Outside: works
"""

from __future__ import annotations

from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    with open("/proc/self/oom_score_adj", "r+") as file:
        file.write("1000")
    return True
