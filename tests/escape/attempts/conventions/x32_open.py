"""Open the secret by the x32 convention, whose numbers are the same with one bit more.

Stopped by: seccomp
Outside: works
"""

from __future__ import annotations

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(stage: Stage) -> object:
    opened = linux.system_call(linux.X32 | linux.NUMBERS["open"], linux.text(stage.path("secret")), 0, 0)
    return stage.is_secret(linux.read_all(opened))
