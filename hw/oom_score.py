"""Who is to end where memory runs out: the children of the caller, and not the caller.

The host ends the process that holds most. A child that was just forked holds no more than its parent, so that it could
be the parent's turn, and with a zygote its system ends. Children are born with what the parent's score is at the fork:
so that is raised for the fork, and lowered behind it, which needs no privilege (proc(5), /proc/pid/oom_score_adj).
While it forks the caller is no better off than they are: it ends first then if it holds more than any of them.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

HIGHEST: Final = 1000
RAISED: Final = 500
"""As much as half of the memory that there is: more than a zygote holds of any group's or host's."""


class OomScore:
    """The caller's own. Open it while the process shows its memory: what hides that hides this as well. OSError."""

    def __init__(self, file: Path = Path("/proc/self/oom_score_adj")) -> None:
        self._file = os.open(file, os.O_RDWR | os.O_CLOEXEC)
        own = int(os.read(self._file, 16))
        self._own, self._childs = str(own).encode(), str(min(HIGHEST, own + RAISED)).encode()

    def fork(self) -> int:
        """As fork(2): the child comes before the caller. Raises OSError."""
        pid = -1
        os.pwrite(self._file, self._childs, 0)
        try:
            pid = os.fork()
            return pid
        finally:
            if pid:
                os.pwrite(self._file, self._own, 0)
