"""What workloads have counted: those that are tasks, from their logs; one that is a command of this host, by its ends.

Every byte of a log is its task's: a line that is no report is passed over.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from libsel4py.workload import MARK, percentile_of

_MOST_BUCKETS: Final = 1000
END_SECONDS: Final = 10.0


class _Line(msgspec.Struct, frozen=True):
    workload: str
    life: str
    attempts: int
    failed: int
    repeated: int
    checks: int
    kept_checks: int
    wrong: int
    lost: int
    texts: list[str]
    spent: list[tuple[int, int]]


@dataclass
class Counts:
    """The sum over a workload's lives."""

    lives: int = 0
    attempts: int = 0
    failed: int = 0
    repeated: int = 0
    checks: int = 0
    kept_checks: int = 0
    wrong: int = 0
    lost: int = 0
    texts: list[str] = field(default_factory=list)
    spent: Counter[int] = field(default_factory=Counter)

    def plain(self) -> dict[str, object]:
        """As a program reads it; times in microseconds, each the end of the histogram's bucket."""
        times = {f"p{name}_us": percentile_of(self.spent, share) for name, share in (("50", 0.5), ("99", 0.99))}
        return {
            "lives": self.lives,
            "attempts": self.attempts,
            "failed": self.failed,
            "repeated": self.repeated,
            "checks": self.checks,
            "kept_checks": self.kept_checks,
            "wrong": self.wrong,
            "lost": self.lost,
            **times,
            "max_us": percentile_of(self.spent, 1.0),
            "texts": self.texts,
        }


class TaskWorkloads:
    """All workloads that write to a log in the folder. Each log is read once, from where the last look ended."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._read: dict[Path, int] = {}
        self._latest: dict[tuple[str, str], _Line] = {}

    def counts(self) -> dict[str, Counts]:
        """What they have counted so far, by task and name."""
        for path in sorted(self._logs.glob("*.log")):
            for line in self._new_lines(path):
                self._latest[f"{path.stem}.{line.workload}", line.life] = line
        found: dict[str, Counts] = {}
        for (name, _), line in self._latest.items():
            counts = found.setdefault(name, Counts())
            counts.lives += 1
            counts.attempts += line.attempts
            counts.failed += line.failed
            counts.repeated += line.repeated
            counts.checks += line.checks
            counts.kept_checks += line.kept_checks
            counts.wrong += line.wrong
            counts.lost += line.lost
            counts.texts += line.texts
            counts.spent.update({bucket: number for bucket, number in line.spent if 0 <= bucket < _MOST_BUCKETS})
        return found

    def _new_lines(self, path: Path) -> Iterator[_Line]:
        try:
            with path.open("rb") as file:
                file.seek(self._read.get(path, 0))
                data = file.read()
        except OSError:  # a task that is over has no log any more
            return
        whole = data[: data.rfind(b"\n") + 1]
        self._read[path] = self._read.get(path, 0) + len(whole)
        for line in whole.decode(errors="replace").splitlines():
            if line.startswith(MARK):
                try:
                    yield msgspec.json.decode(line[len(MARK) :], type=_Line)
                except msgspec.MsgspecError:
                    continue


class HostWorkload:
    """A command of this host that runs beside the system, again and again; an exit status other than 0 is an error.

    Its environment tells it which system is meant (SEL4PY_SYSTEM).
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._command = list(command)
        self._environment = dict(environment)
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 (closed by close)
        self._process: subprocess.Popen[bytes] | None = None
        self.runs = self.failed = 0
        self.first_failure = ""

    def look(self) -> None:
        """Take note of an end, and start it again. Raises OSError: there is no such command."""
        if self._process is not None:
            status = self._process.poll()
            if status is None:
                return
            self.runs += 1
            if status:
                self._note_failure(status)
        self._output.seek(0)
        self._output.truncate()
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._output,
            env=self._environment,
        )

    def close(self) -> None:
        """End it. What it was doing is not counted."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._output.close()

    def plain(self) -> dict[str, object]:
        return {"runs": self.runs, "failed": self.failed, "first_failure": self.first_failure}

    def _note_failure(self, status: int) -> None:
        self.failed += 1
        if not self.first_failure:
            self._output.seek(0)
            said = self._output.read(2000).decode(errors="replace")
            self.first_failure = f"status {status}: {said.strip()}"
