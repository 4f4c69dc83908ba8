"""Rearrange the pages of a shared mapping.

Stopped by: seccomp
Outside: works
"""

from __future__ import annotations

from tests.escape import linux
from tests.escape.stage import Stage


def attempt(_stage: Stage) -> object:
    place = linux.shared_mapping(8192)
    return linux.is_reached("remap_file_pages", place, 4096, 0, 1, 0)
