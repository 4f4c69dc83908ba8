"""The logs of tasks as files: a system that starts tasks without end must not fill the host's folder with them.

Rules. The log of a task that runs always stays. Of those that ended the latest `KEPT` stay, for a person to read why;
the oldest one goes first. A name that is used again goes on in the same file, and a process that stands by for a task
in that one's: root alone names one.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections import Counter
from typing import Final

from libsel4py.abi import STANDBY_SUFFIX

KEPT: Final = 64
_UNSAFE: Final = re.compile(r"^\.|[^A-Za-z0-9_.-]")
_LONGEST: Final = 200  # below every file system's bound


def log_name(name: str) -> str:
    """The file name of a task's log: another one for each name, but for who stands by.

    A task's name is bytes that another task chose: nothing in it may be a path, or make it the log of a task that is
    called otherwise. That a process stands by the initial task alone can say (kerneld/objects/tcb.py).
    """
    return (_UNSAFE.sub(_escaped, name.removesuffix(STANDBY_SUFFIX))[:_LONGEST] or "unnamed") + ".log"


def _escaped(unsafe: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in unsafe[0].encode())


class TaskLogs:
    """Which logs are in use. `folder` is a descriptor, and the caller's."""

    def __init__(self, folder: int, kept: int = KEPT) -> None:
        self.folder = folder
        self._kept = kept
        self._in_use: Counter[str] = Counter()
        self._ended: dict[str, None] = {}  # oldest first

    def started(self, file: str) -> None:
        """A task writes to this file from now on."""
        self._ended.pop(file, None)
        self._in_use[file] += 1

    def write(self, file: str, line: str) -> None:
        """Add a line of ours to a task's log. Where that is not possible, it is in our own."""
        try:
            log = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self.folder)
            try:
                os.write(log, f"{line}\n".encode())
            finally:
                os.close(log)
        except OSError as error:
            print(f"{file}: {line} ({error})", flush=True)

    def ended(self, file: str) -> None:
        """That task has ended."""
        self._in_use[file] -= 1
        if self._in_use[file]:
            return
        del self._in_use[file]
        self._ended[file] = None
        if len(self._ended) > self._kept:
            oldest = next(iter(self._ended))
            del self._ended[oldest]
            # Somebody may have tidied up, or put a folder there: neither is ours to mend.
            with contextlib.suppress(OSError):
                os.unlink(oldest, dir_fd=self.folder)
