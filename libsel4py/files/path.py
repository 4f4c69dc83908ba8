"""Paths with a file system behind them, in the manner of `pathlib`."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import IO, TYPE_CHECKING, Any, overload

from libsel4py.files.modes import TextMode
from libsel4py.interfaces.file import Kind, Stat

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from libsel4py.files import Files


class Path:
    """A path of a `Files`. ``path / "name"`` goes on from it; what it has in common with `pathlib.Path` works as there.

    Attributes:
        files: where it is.
    """

    __slots__ = ("_pure", "files")

    def __init__(self, files: Files, path: str | PurePosixPath) -> None:
        self.files = files
        self._pure = PurePosixPath(path)

    def __str__(self) -> str:
        return str(self._pure)

    def __repr__(self) -> str:
        return f"Path({str(self)!r})"

    def __fspath__(self) -> str:
        return str(self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Path) and other.files is self.files and other._pure == self._pure

    def __hash__(self) -> int:
        return hash(self._pure)

    def __lt__(self, other: Path) -> bool:
        return self._pure < other._pure

    def __truediv__(self, name: str) -> Path:
        return Path(self.files, self._pure / name)

    def joinpath(self, *names: str) -> Path:
        return Path(self.files, self._pure.joinpath(*names))

    @property
    def name(self) -> str:
        return self._pure.name

    @property
    def suffix(self) -> str:
        return self._pure.suffix

    @property
    def stem(self) -> str:
        return self._pure.stem

    @property
    def parts(self) -> tuple[str, ...]:
        return self._pure.parts

    @property
    def parent(self) -> Path:
        return Path(self.files, self._pure.parent)

    def with_name(self, name: str) -> Path:
        return Path(self.files, self._pure.with_name(name))

    def with_suffix(self, suffix: str) -> Path:
        return Path(self.files, self._pure.with_suffix(suffix))

    # --- what is there

    def stat(self) -> Stat:
        """Kind, size in bytes, time in nanoseconds. Raises OSError."""
        return self.files.stat(str(self))

    def _kind(self) -> Kind | None:
        try:
            return self.stat().kind
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EINVAL):
                return None
            raise

    def exists(self) -> bool:
        return self._kind() is not None

    def is_file(self) -> bool:
        return self._kind() is Kind.FILE

    def is_dir(self) -> bool:
        return self._kind() is Kind.DIRECTORY

    def iterdir(self) -> Iterator[Path]:
        """What is in a directory, sorted by name."""
        for entry in self.files.list(str(self)):
            yield self / entry.name

    def walk(self) -> Iterator[tuple[Path, list[str], list[str]]]:
        """Each directory from here down, with the names of the directories and files in it (`pathlib.Path.walk`)."""
        entries = self.files.list(str(self))
        folders = [entry.name for entry in entries if entry.kind is Kind.DIRECTORY]
        yield self, folders, [entry.name for entry in entries if entry.kind is Kind.FILE]
        for name in folders:
            yield from (self / name).walk()

    # --- bytes

    @overload
    def open(
        self,
        mode: TextMode = "r",
        buffering: int = ...,
        encoding: str | None = ...,
        errors: str | None = ...,
        newline: str | None = ...,
    ) -> IO[str]: ...
    @overload
    def open(
        self,
        mode: str,
        buffering: int = ...,
        encoding: str | None = ...,
        errors: str | None = ...,
        newline: str | None = ...,
    ) -> IO[Any]: ...
    def open(
        self,
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> IO[Any]:
        return self.files.open(str(self), mode, buffering, encoding, errors, newline)

    def read_bytes(self) -> bytes:
        with self.files.open_raw(str(self), "rb") as file:
            return file.readall()

    def read_text(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return self.read_bytes().decode(encoding, errors)

    def write_bytes(self, data: Buffer) -> int:
        with self.files.open_raw(str(self), "wb") as file:
            return file.write(data)

    def write_text(self, text: str, encoding: str = "utf-8", errors: str = "strict") -> int:
        self.write_bytes(text.encode(encoding, errors))
        return len(text)

    def touch(self, *, exist_ok: bool = True) -> None:
        try:
            self.files.open_raw(str(self), "ab" if exist_ok else "xb").close()
        except IsADirectoryError:
            if not exist_ok:
                raise

    # --- names

    def mkdir(self, *, parents: bool = False, exist_ok: bool = False) -> None:
        """Make a directory, and those above it if ``parents``. Raises OSError."""
        try:
            self.files.mkdir(str(self))
        except FileNotFoundError:
            if not parents or self.parent == self:
                raise
            self.parent.mkdir(parents=True, exist_ok=True)
            self.mkdir(exist_ok=exist_ok)
        except FileExistsError:
            if not exist_ok or not self.is_dir():
                raise

    def unlink(self, *, missing_ok: bool = False) -> None:
        try:
            self.files.remove(str(self))
        except FileNotFoundError:
            if not missing_ok:
                raise

    def rmdir(self) -> None:
        self.files.rmdir(str(self))

    def rename(self, target: str | Path) -> Path:
        """Give it another name, in one step; what has that name is replaced, as on POSIX. Returns the new path."""
        self.files.rename(str(self), str(target))
        return Path(self.files, str(target))

    replace = rename
