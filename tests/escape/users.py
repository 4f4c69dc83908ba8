"""How a plain user's attempts go otherwise than root's: a section of docs/escape.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.escape.attempt import Fate, Outcome

OUTSIDE: Final = "no system: an ordinary process"
Escaped = Mapping[str, Sequence[str]]  # paths of what succeeded, by what was left out ("": nothing) and `OUTSIDE`
TEXT: Final = Path(__file__).with_name("page_plain.txt")


def escaped(free: Mapping[str, Outcome], runs: Mapping[str, Mapping[str, Outcome]]) -> dict[str, list[str]]:
    """What succeeded, of `table.measured`."""
    return {left_out: _succeeded(run) for left_out, run in {**runs, OUTSIDE: free}.items()}


def _succeeded(run: Mapping[str, Outcome]) -> list[str]:
    return sorted(path for path, outcome in run.items() if outcome.fate is Fate.SUCCEEDED)


def section(root: Escaped, plain: Escaped) -> list[str]:
    """Its lines.

    Raises:
        KeyError: the plain user's were measured with other layers.
    """
    escaped = ", ".join(f"`{path}`" for path in plain[""]) or "none"
    lines = TEXT.read_text().format(escaped=escaped).splitlines()
    lines += ["", "| left out | root | plain user | root alone | plain user alone |", "| --- | --- | --- | --- | --- |"]
    for left_out in root:
        if left_out:
            ours, theirs = root[left_out], plain[left_out]
            lines.append(
                f"| {left_out} | {len(ours)} | {len(theirs)} | {_without(ours, theirs)} | {_without(theirs, ours)} |"
            )
    return [*lines, ""]


def _without(some: Sequence[str], others: Sequence[str]) -> str:
    return ", ".join(f"`{path}`" for path in some if path not in others)
