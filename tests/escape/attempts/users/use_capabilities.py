"""Use root's right to read any file, where only its mode forbids it.

Stopped by: capabilities, landlock
Outside: root
"""

from __future__ import annotations

import os

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    return linux.read_all(os.open("/etc/shadow", os.O_RDONLY))
