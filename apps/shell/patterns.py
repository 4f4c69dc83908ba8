"""Words that stand for files: ``*`` is any number of characters of a name, ``?`` one.

Rules. A quoted or escaped sign is itself. A pattern that nothing matches stays the word that was typed, and only a
command's files are looked for: `grep a*b notes` looks for that text. ``*`` does not go beyond a ``/``. A match that
begins with ``-`` has ``./`` before it, so that no file's name is taken for an option.
"""

from __future__ import annotations

import errno
import fnmatch
import glob
import re
import shlex
from collections.abc import Iterator
from typing import Final

from apps.shell.session import Session

WILD: Final = "*?"
_PIECE: Final = re.compile(r"""\\.|'[^']*'|"(?:[^"\\]|\\.)*"|(?P<plain>.)""", re.DOTALL)
_NOTHING_THERE: Final = (errno.ENOENT, errno.ENOTDIR, errno.EACCES)


class Pattern(str):
    """A word with ``*`` or ``?`` outside of quotes: the text that was meant if it were a name, and what it matches.

    ``globs``: for each part between slashes, what `fnmatch` takes.
    """

    globs: tuple[str, ...]


def word(typed: str) -> str:
    """A word as it was typed, without its quotes; a `Pattern` if it is one. Raises ValueError as `shlex.split`."""
    text = shlex.split(typed)[0]
    pattern, is_wild = "", False
    for piece in _PIECE.finditer(typed):
        plain = piece["plain"]
        if plain is not None and plain in WILD:
            pattern, is_wild = pattern + plain, True
        else:
            pattern += glob.escape("".join(shlex.split(piece[0])))
    if not is_wild:
        return text
    found = Pattern(text)
    found.globs = tuple(pattern.split("/"))
    return found


def expand(session: Session, typed: str) -> list[str]:
    """The files that match a pattern, sorted; else the word alone. Raises CommandError: the shell has no files."""
    return (_matches(session, typed) if isinstance(typed, Pattern) else []) or [typed]


def _matches(session: Session, pattern: Pattern) -> list[str]:
    texts = pattern.split("/")
    found = ["/" if texts[0] == "" else ""]
    for text, name_pattern in zip(texts, pattern.globs, strict=True):
        if not text:
            continue
        if name_pattern == glob.escape(text):
            found = [_join(each, text) for each in found]
        else:
            is_match = re.compile(fnmatch.translate(name_pattern)).match
            found = [_join(each, name) for each in found for name in _names(session, each) if is_match(name)]
    there = [each for each in found if session.path(each).exists()]
    if not texts[-1]:  # a slash at its end
        there = [each for each in there if session.path(each).is_dir()]
    return [each if each[0] != "-" else f"./{each}" for each in there]


def _names(session: Session, folder: str) -> Iterator[str]:
    try:
        yield from (each.name for each in session.path(folder or ".").iterdir())
    except OSError as error:
        if error.errno not in _NOTHING_THERE:
            raise


def _join(folder: str, name: str) -> str:
    return f"{folder}{name}" if folder in ("", "/") else f"{folder}/{name}"
