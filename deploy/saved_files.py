"""Files that a command saves: what may be replaced by one, and where it really goes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from deploy.answers import AnswerError

NAME_LETTERS: Final = 60


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


@contextmanager
def replaced(target: Path) -> Iterator[BinaryIO]:
    """Write a file of the host: beside it, and in its place at the end. What is no file is written as it is."""
    if (target.exists() and not target.is_file()) or target.parts[:2] in (("/", "dev"), ("/", "proc")):
        with target.open("wb") as writer:
            yield writer
        return
    file = target_of(target)
    beside = file.with_name(f".{file.name[:NAME_LETTERS]}.{os.getpid()}.new")
    mode = file.stat().st_mode & 0o777 if file.exists() else None
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(target)) from None
    try:
        with os.fdopen(descriptor, "wb") as writer:
            if mode is not None:
                os.fchmod(descriptor, mode)
            yield writer
        os.replace(beside, file)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
