"""Have the host itself copy the secret to a pipe.

Stopped by: landlock, seccomp
Outside: works
"""

from __future__ import annotations

import os

from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    source = os.open(stage.path("secret"), os.O_RDONLY)
    reader, writer = os.pipe()
    os.sendfile(writer, source, 0, 16)
    return stage.is_secret(os.read(reader, 16))
