"""Make hundreds of objects of the host's that wait.

Stopped by: limits
Outside: works
"""

from __future__ import annotations

import select

from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    return [select.epoll() for _ in range(500)]
