"""Files that a command saves: what may be replaced by one, and where it really goes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from deploy.answers import AnswerError


class NotReplaced(AnswerError):
    """There is what a saved file would destroy; the text says what would work."""


def ensure_replaceable(path: Path, kind: str, begin_bytes: int, is_begin: Callable[[bytes], bool]) -> None:
    """Raises NotReplaced if something is there that is no such file itself.

    ``kind``: what it would be, in words. ``is_begin``: whether the first ``begin_bytes`` of a file are those of one.
    """
    if not path.exists():
        return
    if path.is_file():  # to open a pipe would wait, and a device may not end
        with path.open("rb") as file:
            if is_begin(file.read(begin_bytes)):
                return
    raise NotReplaced(f"{path} exists, is no {kind}, and would be lost; remove it, or choose another name")


def target_of(path: Path) -> Path:
    """The absolute path of what is replaced: not of a link, but of the file that it leads to."""
    return Path(os.path.realpath(path))
