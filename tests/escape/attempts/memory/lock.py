"""Lock memory, so that the host cannot take it back.

Stopped by: limits, capabilities
Outside: works
"""

from __future__ import annotations

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    linux.system_call("mlock", linux.memory(65536), 65536)
    return True
