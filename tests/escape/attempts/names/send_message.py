"""Put a message into the victim's queue.

Stopped by: seccomp, namespaces
Outside: works
"""

from __future__ import annotations

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    linux.system_call("msgsnd", stage.msg, linux.buffer((1).to_bytes(8, "little") + bytes(8)), 8, 0o4000)
    return True
