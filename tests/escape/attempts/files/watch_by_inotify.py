"""Be told when the victim's files are used.

Stopped by: seccomp, landlock
Outside: works
"""

from __future__ import annotations

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    watcher = linux.system_call("inotify_init")
    linux.system_call(254, watcher, linux.text(stage.folder), 2)
    return True
