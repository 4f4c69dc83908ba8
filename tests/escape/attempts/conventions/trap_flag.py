"""Call while single steps are trapped, which some filters were fooled by.

Stopped by: seccomp
Outside: no, the host delivers it to oneself
"""

from __future__ import annotations

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    code = b"\x9c\x81\x0c\x24\0\x01\0\0\x9d\xb8\x29\0\0\0\xbf\x01\0\0\0\xbe\x01\0\0\0\x31\xd2\x0f\x05\x48\x98\xc3"
    return linux.run_code(code) > 2
