"""Make a folder the root folder.

Stopped by: seccomp, capabilities
Outside: root
"""

from __future__ import annotations

from pathlib import Path

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    linux.system_call("chroot", linux.text(stage.folder))
    return stage.is_secret(Path("/secret").read_bytes())
