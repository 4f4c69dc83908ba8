"""Run a program that is open, execveat(2) with an empty path.

Stopped by: seccomp, landlock
Outside: works
"""

from __future__ import annotations

import os
import struct
import sys

from tests.escape import linux
from tests.escape.attempt import SUCCEEDED
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    opened = os.open(sys.executable, os.O_RDONLY)
    words = [linux.text(each) for each in (sys.executable, "-c", f"import os; os._exit({SUCCEEDED})")]
    vector = linux.buffer(struct.pack("<4Q", *words, 0))
    linux.system_call("execveat", opened, linux.text(""), vector, 0, 0x1000)
    return None
