"""Write a program into a memory file, and run that.

Stopped by: seccomp
Outside: works
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

from tests.escape import linux
from tests.escape.attempt import SUCCEEDED
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    made = os.memfd_create("program")
    os.write(made, Path("/bin/sh").read_bytes())
    words = [linux.text(each) for each in ("sh", "-c", f"exit {SUCCEEDED}")]
    vector = linux.buffer(struct.pack("<4Q", *words, 0))
    linux.system_call("execveat", made, linux.text(""), vector, 0, 0x1000)
    return None
