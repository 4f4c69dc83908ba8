"""How a thread's priority is told to the host's scheduler: as its nice value (setpriority(2)).

A nice value weighs and does not order.

Priorities of ORDINARY and above are nice 0, as everything else on the host; lower ones are as much nicer as they are
lower, up to 19 at priority 0. Nothing is less than 0: a task's priority is no reason to take processors from programs
that are not of this system. To make a thread nicer needs no privilege. To undo that needs CAP_SYS_NICE, or a limit
(RLIMIT_NICE) that allows it; where the host refuses, the thread stays as nice as it was. `sel4py doctor` tells.
"""

from __future__ import annotations

import contextlib
import os
from typing import Final

ORDINARY: Final = 100  # the priority of a task whose description names none
NICEST: Final = 19


def nice_of(priority: int) -> int:
    """The nice value of a priority."""
    return max(0, ORDINARY - priority) * NICEST // ORDINARY


def set_nice(tid: int, priority: int) -> None:
    """Give a host thread, by its number, the nice value of a priority, as far as the host allows."""
    wanted = nice_of(priority)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if os.getpriority(os.PRIO_PROCESS, tid) != wanted:
            os.setpriority(os.PRIO_PROCESS, tid, wanted)
