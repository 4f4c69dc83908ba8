"""Run a program in place of this one.

Stopped by: seccomp, landlock
Outside: works
"""

from __future__ import annotations

import os
import sys

from tests.escape.attempt import SUCCEEDED
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    os.execv(sys.executable, [sys.executable, "-c", f"import os; os._exit({SUCCEEDED})"])
    return None
