"""The kernel's own descriptors: tasks are refused before the host refuses the kernel.

A start brings a pidfd with the zygote's answer. Where there is no descriptor left for that, the process runs and the
kernel can never end it. So some are kept free, and more while starts are on their way.
"""

from __future__ import annotations

import errno
import os
import resource
from typing import Final

KEPT: Final = 64  # for all but tasks: management, consoles, files
A_START: Final = 5  # pidfd, and what waits to be sent while zygote and monitor are slow


def leaves_for_tasks(descriptor: int) -> bool:
    """Whether one that was just made leaves enough for tasks: a client can have channels made, and use them up."""
    return descriptor < resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2


def below_for_frames() -> int:
    """Frames' memory is given descriptors below this one: enough are left for starts, doorbells and channels' pages."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4 * 3


def count_open() -> int:
    """How many descriptors this process has open; 0 where the host does not count them (Linux before 6.2)."""
    return os.stat("/proc/self/fd").st_size


def make_doorbell(starts_on_their_way: int) -> int:
    """A further thread's doorbell. Raises OSError (EMFILE) if too few descriptors are left to start anything."""
    doorbell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
    if not is_spare(doorbell + A_START * (starts_on_their_way + 1)):
        os.close(doorbell)
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        raise OSError(errno.EMFILE, f"the host's limit of {limit} open files leaves none for a further task")
    return doorbell


def is_spare(descriptor: int) -> bool:
    """Whether enough are left for all but tasks when this number has just been given."""
    # The host gives the lowest number that is free: all below it are taken.
    return descriptor + KEPT < resource.getrlimit(resource.RLIMIT_NOFILE)[0]
