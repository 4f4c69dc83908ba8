"""Who is to end where memory runs out: first who waits to be a task, then a task, and not their parent.

The host ends the process that holds most. A child that was just forked holds no more than its parent, so that it could
be the parent's turn, and with a zygote its system ends. Children are born with what the parent's score is at the fork:
so that is raised for the fork, and lowered behind it, which needs no privilege (proc(5), /proc/pid/oom_score_adj).
While it forks the caller is no better off than they are: it ends first then if it holds more than any of them.

Whose end harms nobody has the highest score while it is so, and loses it before it is somebody's. A process that hides
its memory is root's to change: where the caller is not root such a one stays as the others are.
"""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack
from pathlib import Path
from typing import Final

HIGHEST: Final = 1000
RAISED: Final = 500
"""As much as half of the memory that there is: more than a zygote holds of any group's or host's."""

_FILE: Final = "oom_score_adj"
_KILL: Final = 1 << (signal.SIGKILL - 1)
_STATUS_BYTES: Final = 1 << 14


class OomScore:
    """The caller's own, and its children's. Open it while the process shows its memory: what hides that hides this as
    well. ``processes``: as /proc, which need not be reached by name later. To be closed. Raises OSError."""

    def __init__(self, processes: Path = Path("/proc")) -> None:
        with ExitStack() as opened:
            self._file = os.open(processes / "self" / _FILE, os.O_RDWR | os.O_CLOEXEC)
            opened.callback(os.close, self._file)
            self._processes = os.open(processes, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            opened.callback(os.close, self._processes)
            own = int(os.read(self._file, 16))
            self.close = opened.pop_all().close
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

    def try_put_first(self, pid: int) -> bool:
        """Have a child end before all others that are forked here. False where the host refuses it, or it is gone."""
        return self._try_set(pid, str(HIGHEST).encode())

    def try_put_among_others(self, pid: int) -> bool:
        """Have it end as all others do. False if it is gone, or the host has decided already that it ends."""
        return self._try_set(pid, self._childs) and not self._is_killed(pid)

    def _try_set(self, pid: int, score: bytes) -> bool:
        try:
            file = os.open(f"{pid}/{_FILE}", os.O_WRONLY | os.O_CLOEXEC, dir_fd=self._processes)
        except OSError:
            return False
        try:
            return os.write(file, score) == len(score)
        except OSError:
            return False
        finally:
            os.close(file)

    def _is_killed(self, pid: int) -> bool:
        """Whether its end is on its way: one that was killed has yet to run to end."""
        try:
            file = os.open(f"{pid}/status", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._processes)
        except OSError:
            return True
        try:
            lines = os.read(file, _STATUS_BYTES).decode(errors="replace").splitlines()
        except OSError:
            return True
        finally:
            os.close(file)
        fields = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
        return any(int(fields[name], 16) & _KILL for name in ("SigPnd", "ShdPnd"))
