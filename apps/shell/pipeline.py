"""A line of the shell: words, commands joined by ``|``, and where input comes from and output goes to.

    cat notes | grep seL4 > found        hexdump < image | head        log >> all

Rules. A quoted or escaped operator is a word like any; a word may be a pattern (`patterns.py`). ``<`` belongs to the
first command and ``>`` to the last, since a pipe is the others' input and output. Commands of a line run one after the
other, each to its end.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from typing import Final

from apps.shell.call import BadArguments
from apps.shell.patterns import word

_TOKEN: Final = re.compile(
    r"""\s*(?:(?P<operator>>>|[|<>])|(?P<word>(?:[^\s"'\\|<>]|\\.|'[^']*'|"(?:[^"\\]|\\.)*")+))""", re.DOTALL
)
USAGE: Final = {
    "|": "a command stands before and after it",
    "<": "a file's name follows it",
    ">": "a file's name follows it",
}


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A line. ``source`` and ``target`` are paths, or empty; ``append`` keeps what the target has."""

    commands: tuple[list[str], ...]
    source: str = ""
    target: str = ""
    append: bool = False


@dataclass(slots=True)
class _Draft:
    commands: list[list[str]] = field(default_factory=lambda: [[]])
    source: str = ""
    target: str = ""
    append: bool = False


def parse(line: str) -> Pipeline:
    """Read a line; one without words has no command. Raises BadArguments, which says what would be right."""
    tokens = _tokens(line)
    draft = _Draft()
    while tokens:
        is_operator, text = tokens.pop(0)
        if not is_operator:
            draft.commands[-1].append(text)
        elif text == "|":
            if draft.target or not draft.commands[-1]:
                raise BadArguments(f"|: {USAGE['|']}, and > ends the last one")
            draft.commands.append([])
        else:
            if not tokens or tokens[0][0]:
                raise BadArguments(f"{text}: {USAGE[text[0]]}")
            _redirect(draft, text, tokens.pop(0)[1])
    if draft.commands == [[]]:
        if draft.source or draft.target:
            raise BadArguments("there is no command whose input or output this would be")
        return Pipeline(())
    if not draft.commands[-1]:
        raise BadArguments(f"|: {USAGE['|']}")
    return Pipeline(tuple(draft.commands), draft.source, draft.target, draft.append)


def _redirect(draft: _Draft, operator: str, path: str) -> None:
    if operator == "<":
        if draft.source or len(draft.commands) > 1:
            raise BadArguments("<: the first command alone reads a file, and one")
        draft.source = path
        return
    if draft.target:
        raise BadArguments(f"{operator}: the output goes to {draft.target} already")
    draft.target, draft.append = path, operator == ">>"


def _tokens(line: str) -> list[tuple[bool, str]]:
    """(whether it is an operator, the operator or the word without its quotes)"""
    found, at, line = [], 0, line.rstrip()
    while at < len(line):
        match = _TOKEN.match(line, at)
        if match is None:
            raise BadArguments(_open_quote(line[at:]))
        operator = match["operator"]
        found.append((True, operator) if operator else (False, word(match["word"])))
        at = match.end()
    return found


def _open_quote(rest: str) -> str:
    try:
        shlex.split(rest)
    except ValueError as error:
        return f"{error}: quotes come in pairs"
    return f"{rest.strip()!r} cannot be read"
