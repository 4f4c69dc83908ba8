"""Give the host the name that it has.

Stopped by: seccomp, namespaces, capabilities
Outside: root
"""

from __future__ import annotations

import os

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    name = os.uname().nodename.encode()
    linux.system_call("sethostname", linux.buffer(name), len(name))
    return True
