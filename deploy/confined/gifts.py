"""What a confined program is given: files of the host, each under a name of the program's.

Rule: all that can be wrong with a request is told before anything is started.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deploy.problems import suggest

NAME_BYTES: Final = 200
RIGHTS: Final = ("ro", "rw")


class BadRequest(Exception):
    """Something cannot be given, or run so; the text says what would be right."""


@dataclass(frozen=True)
class Gift:
    """A file or a folder of the host. ``source`` of one that is writable may not exist yet."""

    name: str
    source: Path
    writable: bool

    @property
    def is_folder(self) -> bool:
        return self.source.is_dir()


def is_text(name: str) -> bool:
    """Whether a name of the host's is UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def parse(text: str) -> Gift:
    """``NAME=FILE:ro`` or ``NAME=FILE:rw``. Raises BadRequest."""
    name, equals, rest = text.partition("=")
    source, colon, rights = rest.rpartition(":")
    if not equals or not colon or not name or not source:
        raise BadRequest(f"--give {text}: write NAME=FILE:ro or NAME=FILE:rw")
    if rights not in RIGHTS:
        raise BadRequest(f"--give {text}: {rights!r} are no rights; {suggest(rights, RIGHTS)}")
    if not is_text(text):
        raise BadRequest(f"--give {text!r}: that is not UTF-8")
    if "/" in name or "\0" in name or name in (".", "..") or len(os.fsencode(name)) > NAME_BYTES:
        raise BadRequest(f"--give {text}: {name!r} is no name: it has no '/', is not '..', and has {NAME_BYTES} bytes")
    return _checked(text, Gift(name, Path(source), rights == "rw"))


def _checked(text: str, gift: Gift) -> Gift:
    real = Path(os.path.realpath(gift.source))  # what is written back replaces a link's file, and not the link
    if not real.exists():
        if not gift.writable:
            raise BadRequest(f"--give {text}: there is no {gift.source}")
        if not real.parent.is_dir() or not os.access(real.parent, os.W_OK):
            raise BadRequest(f"--give {text}: {gift.source} cannot be made: its folder is missing, or not writable")
        return Gift(gift.name, real, True)
    kind = real.stat().st_mode
    if stat.S_ISDIR(kind) and gift.writable:
        raise BadRequest(f"--give {text}: a folder is given to read alone: {gift.name}={gift.source}:ro")
    if not stat.S_ISDIR(kind) and not stat.S_ISREG(kind):
        raise BadRequest(f"--give {text}: {gift.source} is neither a file nor a folder")
    if not os.access(real, os.R_OK | (os.X_OK if stat.S_ISDIR(kind) else 0)):
        raise BadRequest(f"--give {text}: {gift.source} cannot be read by this user")
    if gift.writable and not os.access(real.parent, os.W_OK):
        raise BadRequest(f"--give {text}: {gift.source} cannot be replaced: its folder is not writable")
    return Gift(gift.name, real, gift.writable)


def parse_all(texts: Sequence[str]) -> tuple[Gift, ...]:
    """All of them. Raises BadRequest: one is wrong, two have one name, or two would replace one file."""
    gifts = tuple(map(parse, texts))
    for index, gift in enumerate(gifts):
        for former in gifts[:index]:
            if former.name == gift.name:
                raise BadRequest(f"two files are given as {gift.name!r}: each has a name of its own")
            if gift.writable and former.writable and former.source == gift.source:
                raise BadRequest(f"{gift.source} is given twice to be written: as {former.name!r} and {gift.name!r}")
    return gifts
