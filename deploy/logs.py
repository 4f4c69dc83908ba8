"""The logs of a system: what tasks wrote to standard output and error, from ``logs/NAME.log``.

Rules: nothing here trusts the bytes; a line longer than ``LINE_LIMIT`` is told in pieces. The logs of a failed system
outlive it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

LINE_LIMIT: Final = 4096  # bytes
_CHUNK: Final = 1 << 16


@dataclass(frozen=True)
class LogLine:
    """One line that ``task`` (or kerneld, or the monitor) wrote."""

    task: str
    text: str


def logged(folder: Path) -> list[str]:
    """Names of the logs in a system's runtime folder."""
    return sorted(path.stem for path in (folder / "logs").glob("*.log"))


class LogReader:
    """Reads one log from its start, as far as it has been written. Use as a context manager through ``read_logs``."""

    def __init__(self, folder: Path, task: str) -> None:
        self.task = task
        self._descriptor = os.open(folder / "logs" / f"{task}.log", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        self._rest = b""

    def close(self) -> None:
        os.close(self._descriptor)

    def lines(self, last: bool = False) -> Iterator[LogLine]:
        """The whole lines that were added since; with ``last`` also what stands behind the last newline."""
        while chunk := os.read(self._descriptor, _CHUNK):
            *whole, self._rest = (self._rest + chunk).split(b"\n")
            for each in whole:
                yield self._line(each)
            while len(self._rest) >= LINE_LIMIT:
                yield self._line(self._rest[:LINE_LIMIT])
                self._rest = self._rest[LINE_LIMIT:]
        if last and self._rest:
            yield self._line(self._rest)
            self._rest = b""

    def _line(self, text: bytes) -> LogLine:
        return LogLine(self.task, text.decode(errors="replace"))


def read_logs(folder: Path, tasks: list[str] | None, ended: Callable[[], bool] | None = None) -> Iterator[LogLine]:
    """The lines of the named logs (None: of all, new ones included): as they are now, or until ``ended``.

    ``ended`` waits a moment for the system's end and says whether it has come; it is what paces a follower. Asked once
    the logs were read; when it says yes they are read once more, to the last byte.
    """
    readers: dict[str, LogReader] = {}
    finished = ended is None
    try:
        while True:
            for task in logged(folder) if tasks is None else tasks:
                if task not in readers:
                    # Of many that have ended, the oldest logs go: one may have gone since it was seen.
                    with contextlib.suppress(*((FileNotFoundError,) if tasks is None else ())):
                        readers[task] = LogReader(folder, task)
            for reader in readers.values():
                yield from reader.lines(last=finished)
            if finished or ended is None:
                return
            finished = ended()
    finally:
        for reader in readers.values():
            reader.close()
