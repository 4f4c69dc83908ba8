"""The files that a program was given, by the names that Python's programs use: `open`, `os.stat`, `os.listdir`, ….

Rules. The first part of a relative path decides: it is the name of a given file or folder, or there is no such file.
Absolute paths are the host's, whose sandbox lets the process read code alone. What is put in the place of Python's own
functions is no fence, and need not be one: the authority is in the two directory capabilities.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
import stat
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import IO, TYPE_CHECKING, Any, Final, TypeVar

from apps.script import pump
from libsel4py.files import Files, RawFile
from libsel4py.files.modes import layered
from libsel4py.interfaces.file import Kind, Stat

if TYPE_CHECKING:
    from typing_extensions import Buffer

Result = TypeVar("Result")
GIVEN, RESULTS = "given", "results"
FILES: Final = {GIVEN: "files/", RESULTS: ""}  # where the names are, in each directory
_busy: Final = threading.RLock()  # sessions with the file system are one thread's at a time


class GivenFile(io.RawIOBase):
    """An open file, for any of the program's threads."""

    def __init__(self, file: RawFile, name: str, mode: str) -> None:
        self.name = name
        self.mode = mode
        self._file = file

    def readable(self) -> bool:
        return self._file.readable()

    def writable(self) -> bool:
        return self._file.writable()

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer, /) -> int | None:
        return pump.call(lambda: self._file.readinto(buffer), _busy)

    def write(self, data: Buffer, /) -> int | None:
        return pump.call(lambda: self._file.write(data), _busy)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return pump.call(lambda: self._file.seek(offset, whence), _busy)

    def tell(self) -> int:
        return pump.call(self._file.tell, _busy)

    def truncate(self, size: int | None = None, /) -> int:
        where = self.tell() if size is None else size
        return pump.call(lambda: self._file.truncate(where), _busy)

    def close(self) -> None:
        if not self.closed:
            try:
                super().close()
            finally:
                pump.call(self._file.close, _busy)


class Entry:
    """As `os.DirEntry`, of what a folder holds."""

    def __init__(self, given: Given, folder: str, name: str) -> None:
        self.name = name
        self.path = os.path.join(folder, name)
        self._given = given

    def __fspath__(self) -> str:
        return self.path

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        return self._given.stat(self.path)

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        return stat.S_ISDIR(self.stat().st_mode)

    def is_file(self, *, follow_symlinks: bool = True) -> bool:
        return stat.S_ISREG(self.stat().st_mode)

    def is_symlink(self) -> bool:
        return False


class Entries:
    """As what `os.scandir` returns."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._entries = iter(entries)

    def __iter__(self) -> Iterator[Entry]:
        return self._entries

    def __next__(self) -> Entry:
        return next(self._entries)

    def __enter__(self) -> Entries:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._entries = iter(())


class Given:
    """What the program was given.

    Args:
        files: the directory of what it may read, and, under `RESULTS`, the one of what it may write.
        read_only, writable: the names.
    """

    def __init__(self, files: dict[str, Files], read_only: Iterable[str], writable: Iterable[str]) -> None:
        self._files = files
        self._places = dict.fromkeys(read_only, GIVEN) | dict.fromkeys(writable, RESULTS)
        self._open: weakref.WeakSet[Any] = weakref.WeakSet()

    def _find(self, path: str) -> tuple[Files, str, str]:
        """The directory, the path there, and which of the two it is. Raises FileNotFoundError."""
        rest = os.path.normpath(path)
        place = self._places.get(rest.partition("/")[0])
        if place is None:
            error = FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
            names = ", ".join(sorted(self._places)) or "no file"
            error.add_note(f"this program was given {names}: sel4py run --give NAME=FILE:ro|rw")
            raise error
        return self._files[place], FILES[place] + rest, place

    def open(
        self,
        path: str,
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> IO[Any]:
        """As the builtin. Raises OSError, ValueError."""
        files, rest, place = self._find(path)
        if place == GIVEN and set(mode) & set("wax+"):
            raise PermissionError(errno.EROFS, os.strerror(errno.EROFS), path)

        def make_raw(_: object) -> GivenFile:
            raw_mode = mode.replace("t", "").replace("b", "") + "b"
            return GivenFile(pump.call(lambda: files.open_raw(rest, raw_mode), _busy), path, raw_mode)

        opened = layered(make_raw, mode, buffering, encoding, errors, newline)
        self._open.add(opened)
        return opened

    def stat(self, path: str) -> os.stat_result:
        if os.path.normpath(path) == ".":
            return _stat_result(Stat(Kind.DIRECTORY, 0, 0), writable=False)
        files, rest, place = self._find(path)
        return _stat_result(pump.call(lambda: files.stat(rest), _busy), place == RESULTS)

    def list(self, path: str) -> list[str]:
        if os.path.normpath(path) == ".":
            return [name for name in sorted(self._places) if self._is_there(name)]
        files, rest, _ = self._find(path)
        return [entry.name for entry in pump.call(lambda: files.list(rest), _busy)]

    def _is_there(self, name: str) -> bool:
        try:
            self.stat(name)
        except FileNotFoundError:
            return False
        return True

    def scan(self, path: str) -> Entries:
        return Entries([Entry(self, path, name) for name in self.list(path)])

    def finish(self) -> None:
        """Write out what is still open, and put all on the medium. Raises OSError."""
        for each in list(self._open):
            if not each.closed:
                each.flush()
        if RESULTS in self._files:
            pump.call(self._files[RESULTS].sync, _busy)

    def install(self) -> None:
        """Let Python's own names reach the given files; what they do with anything else stays as it is."""
        opened = builtins.open

        def open(file: Any, mode: str = "r", *more: Any, **named: Any) -> IO[Any]:
            path = _relative(file)
            if path is None:
                return opened(file, mode, *more, **named)
            named.pop("closefd", None)
            if named.pop("opener", None) is not None:
                raise ValueError("a given file is opened without an opener")
            return self.open(path, mode, *more[:4], **named)

        builtins.open = io.open = open  # type: ignore[assignment]  # without the overloads
        os.stat = _instead(os.stat, self.stat)
        os.lstat = _instead(os.lstat, self.stat)
        os.listdir = _instead(os.listdir, self.list)
        os.scandir = _instead(os.scandir, self.scan)


def _instead(host: Callable[..., Any], ours: Callable[[str], Any]) -> Callable[..., Any]:
    def function(path: Any = ".", **named: Any) -> Any:
        found = _relative(path)
        return host(path, **named) if found is None else ours(found)

    function.__name__ = host.__name__
    return function


def _relative(path: object) -> str | None:
    """A relative path as text; None for what is the host's: a descriptor, an absolute path."""
    if isinstance(path, int):
        return None
    text = os.fsdecode(path)  # type: ignore[arg-type]  # raises TypeError as the host's function would
    return None if os.path.isabs(text) or not text else text


def _stat_result(found: Stat, writable: bool) -> os.stat_result:
    mode = stat.S_IFDIR | 0o555 if found.kind is Kind.DIRECTORY else stat.S_IFREG | 0o444
    seconds = found.modified_ns / 1e9
    times = (found.modified_ns // 10**9,) * 3 + (seconds,) * 3 + (found.modified_ns,) * 3
    return os.stat_result((mode | 0o200 * writable, 0, 0, 1, 0, 0, found.size, *times))
