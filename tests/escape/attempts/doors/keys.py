"""Keep a secret in the host kernel's key ring, where others of the user find it.

Stopped by: seccomp
Outside: works
"""

from __future__ import annotations

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    name = linux.text("sel4py-escape")
    return linux.system_call("add_key", linux.text("user"), name, linux.buffer(b"x"), 1, -2) > 0
