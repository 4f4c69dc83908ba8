"""What is wrong with a description: each problem has a place, a finding and a remedy, and all are told at once."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from deploy.answers import AnswerError
from deploy.scanner import Path


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One finding: what is wrong at ``file:line``, and what would be right."""

    file: str
    line: int
    finding: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.finding}; {self.remedy}"


class BadDescription(AnswerError):
    """A system description was refused. ``problems`` is never empty and stands in the order of lines."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems))
        super().__init__("\n".join(map(str, self.problems)))


@dataclass
class Problems:
    """Collects findings, so that one reading of a file tells them all."""

    file: str
    lines: Mapping[Path, int] = field(default_factory=dict)
    found: list[Problem] = field(default_factory=list)

    def add(self, path: Path, finding: str, remedy: str) -> None:
        """A finding about the key at ``path``, or about the nearest table around it that stands in the file."""
        while path and path not in self.lines:
            path = path[:-1]
        self.found.append(Problem(self.file, self.lines.get(path, 1), finding, remedy))

    def ensure_none(self) -> None:
        """Raises BadDescription if anything was found."""
        if self.found:
            raise BadDescription(self.found)


def dotted(path: Path) -> str:
    """A path as people write it: ``task.shell.uses.console``."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")


def suggest(word: str, candidates: Iterable[str]) -> str:
    """``did you mean …?`` with the nearest candidate, else the list of all of them."""
    known = sorted(set(candidates))
    near = difflib.get_close_matches(word, known, n=1) or [each for each in known if word and each.startswith(word)]
    if near:
        return f"did you mean {near[0]!r}?"
    return f"there is {', '.join(known)}" if known else "there is none"
