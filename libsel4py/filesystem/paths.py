"""Paths as clients send them, and as volumes see them.

Rule: nothing reaches a volume that has not been through `checked`. A checked path has no way up, so what is joined to a
root stays below it.
"""

from __future__ import annotations

import re
from typing import Final

from libsel4py.interfaces.file import NAME_BYTES, PATH_BYTES, BadPath, NameTooLong

_NAMES: Final = re.compile(r"(?!\.{1,2}(?:/|\Z))[^/\0]+(?:/(?!\.{1,2}(?:/|\Z))[^/\0]+)*").fullmatch
_SURELY_SHORT: Final = NAME_BYTES // 4  # characters, of at most four bytes each


def checked(path: str) -> str:
    """The path itself. Raises BadPath."""
    if not path:
        return path
    if _NAMES(path) is None:
        raise BadPath(f"{path[:80]!r} is no path: names separated by '/', and none of them empty, '.' or '..'")
    if len(path) > _SURELY_SHORT:
        _ensure_short(path)
    return path


def _ensure_short(path: str) -> None:
    try:
        data = path.encode()
    except UnicodeEncodeError as error:
        raise BadPath(f"{path[:80]!r} is no text that UTF-8 can say") from error
    if len(data) > PATH_BYTES:
        raise NameTooLong(f"a path has at most {PATH_BYTES} bytes, and this has {len(data)}")
    longest = max(map(len, data.split(b"/")))
    if longest > NAME_BYTES:
        raise NameTooLong(f"a name has at most {NAME_BYTES} bytes, and one of these has {longest}")


def join(root: str, path: str) -> str:
    """A checked path below a root. Raises BadPath: the two together are too long."""
    if not root:
        return path
    if not path:
        return root
    joined = f"{root}/{path}"
    if len(joined) > _SURELY_SHORT:
        _ensure_short(joined)
    return joined


def is_within(path: str, root: str) -> bool:
    """Whether a path is the root itself, or below it."""
    return not root or path == root or path.startswith(root + "/")


def relative(path: str, root: str) -> str:
    """A path that is within a root, as seen from there."""
    return path[len(root) :].removeprefix("/") if root else path


def moved(path: str, old: str, new: str) -> str:
    """What a path is called after ``old`` was renamed to ``new``."""
    return new + path[len(old) :] if is_within(path, old) else path


def parent_of(path: str) -> str:
    """The directory that a path is in; the root for the root."""
    return path.rpartition("/")[0]
