"""The logs of tasks as files: a system that starts tasks without end must not fill the host's folder with them.

Rules. The log of a task that runs always stays. Of those that ended the latest `KEPT` stay, for a person to read why;
the oldest one goes first. A name that is used again goes on in the same file.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections import Counter
from typing import Final

KEPT: Final = 64
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9_.-]")
_LONGEST: Final = 200  # below every file system's bound


def log_name(name: str) -> str:
    """The file name of a task's log. A task's name is bytes that another task chose: nothing in it may be a path."""
    return (_UNSAFE.sub("_", name).lstrip(".")[:_LONGEST] or "unnamed") + ".log"


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
