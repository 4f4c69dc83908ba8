"""Open the secret by a file handle, which goes by no path.

Stopped by: seccomp, capabilities
Outside: root
"""

from __future__ import annotations

import os
import struct

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    handle = linux.buffer(struct.pack("<Ii", 128, 0) + bytes(128))
    mount = linux.buffer(8)
    linux.system_call("name_to_handle_at", linux.AT_FDCWD, linux.text(stage.path("secret")), handle, mount, 0)
    folder = os.open(stage.folder, os.O_RDONLY | os.O_DIRECTORY)
    return stage.is_secret(linux.read_all(linux.system_call("open_by_handle_at", folder, handle, os.O_RDONLY)))
