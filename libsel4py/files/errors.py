"""A file system's errors as the `OSError`s that Python programs expect."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from libsel4py.errors import InvalidCapability, MessageTooLong, ServerDied
from libsel4py.interfaces.file import (
    BadPath,
    DeviceFailed,
    DirectoryNotEmpty,
    FileError,
    FileExists,
    IsDirectory,
    Locked,
    NameTooLong,
    NoSpace,
    NoSuchFile,
    NotDirectory,
    NotPermitted,
    StaleHandle,
    TooManyOpen,
    Unfinished,
)

FAILURES: Final = (FileError, InvalidCapability, MessageTooLong)  # the second: the capability itself was revoked
LOST: Final = (StaleHandle, InvalidCapability, ServerDied)  # perhaps the session is over

ERRNO: Final[dict[type[Exception], int]] = {
    NoSuchFile: errno.ENOENT,
    FileExists: errno.EEXIST,
    IsDirectory: errno.EISDIR,
    NotDirectory: errno.ENOTDIR,
    DirectoryNotEmpty: errno.ENOTEMPTY,
    NoSpace: errno.ENOSPC,
    NotPermitted: errno.EACCES,
    BadPath: errno.EINVAL,
    NameTooLong: errno.ENAMETOOLONG,
    MessageTooLong: errno.ENAMETOOLONG,  # the path: what is written goes by a buffer
    Locked: errno.EWOULDBLOCK,
    Unfinished: errno.EAGAIN,
    TooManyOpen: errno.EMFILE,
    DeviceFailed: errno.EIO,
    StaleHandle: errno.ESTALE,
}


def to_the_end(act: Callable[[], object]) -> None:
    """Do it until it is no more `Unfinished`."""
    while True:
        try:
            act()
        except Unfinished:
            continue
        return


class InDoubt(OSError):
    """A server died with a request, and nobody can say whether it was carried out (EIO). Look, and decide."""

    def __init__(self, text: str, path: object) -> None:
        super().__init__(errno.EIO, text, str(path))


class LockLost(OSError):
    """The file's lock was another's since the server died (ENOLCK). The file goes on after `lock` or `unlock`."""

    def __init__(self, text: str, path: object) -> None:
        super().__init__(errno.ENOLCK, text, str(path))


def os_error(error: Exception, path: object = None, second: object = None) -> OSError:
    """The `OSError` (FileNotFoundError, …) that means what one of `FAILURES` does; the server's words are its note."""
    number = errno.ESTALE if isinstance(error, InvalidCapability) else ERRNO.get(type(error), errno.EIO)
    text = os.strerror(number)
    if path is None:
        made = OSError(number, f"{text}: {error}")
    elif second is None:
        made = OSError(number, text, str(path))
    else:
        made = OSError(number, text, str(path), None, str(second))
    made.add_note(str(error))
    return made


@contextmanager
def as_os_errors(path: object = None, second: object = None) -> Iterator[None]:
    """Raise `os_error` for what `FAILURES` names."""
    try:
        yield
    except FAILURES as error:
        raise os_error(error, path, second) from error
