"""What ``sel4py check`` answers about authority: its options ``--can``, ``--who-can``, ``--matrix`` and ``--graph``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from deploy.cli.output import Failure, Report
from deploy.cli.rendering import line, table

if TYPE_CHECKING:
    from deploy.authority.questions import Analysis, Answer

CANNOT: Final = 3  # the exit status of a certified no: never that of a command that failed


def can(analysis: Analysis, words: tuple[str, str, str]) -> Report:
    """``--can A VERB B``. Raises Failure for a verb that there is not."""
    from deploy.authority.questions import Verb

    subject, verb, target = words
    if verb not in {each.value for each in Verb}:
        raise Failure(
            f"nobody can {verb!r}; ask whether {subject} can {', '.join(each.value for each in Verb)} {target}"
        )
    answer = analysis.can(subject, Verb(verb), target)
    result = {"can": answer.yes, "question": answer.question, "chain": answer.chain, "because": answer.because}
    return Report(result | {"assumed": answer.assumed}, lambda: _show(answer), ok=answer.yes, status=CANNOT)


def _show(answer: Answer) -> None:
    never = answer.question.replace(" can ever ", " can never ", 1)
    line(f"yes: {answer.question}" if answer.yes else f"no, this is certain: {never}")
    for step in answer.chain or [answer.because]:
        line(f"  {step}")
    for each in answer.assumed:
        line(f"assumed: {each}")


def who_can(analysis: Analysis, path: str) -> Report:
    """``--who-can PATH``."""
    return Report(analysis.who_can(path))


def matrix(analysis: Analysis) -> Report:
    """``--matrix``: a row for each task, marked where it can ever reach the column's."""
    found = analysis.matrix()
    rows = [(name, *("x" if other in reached else "." for other in found)) for name, reached in found.items()]
    return Report(found, lambda: table(("reaches", *found), rows))


def draw(analysis: Analysis, path: Path) -> Report:
    """``--graph FILE``."""
    from deploy.authority.drawing import svg

    found = analysis.matrix()
    path.write_text(svg(found), encoding="utf-8")
    ways = sum(map(len, found.values()))
    return Report({"file": str(path), "tasks": len(found), "ways": ways}, lambda: line(f"{path}: {len(found)} tasks"))
