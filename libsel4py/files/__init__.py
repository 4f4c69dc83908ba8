"""Files for programs: `open`, paths, atomic replacement, locks and watches on directories that a task was given.

    files = Files(self.disk)                       # disk = uses(Directory)
    with files.open("notes.txt", "a") as notes:
        print("hello", file=notes)
    files.path("notes.txt").read_text()
    files.replace_file("state.json", data)         # the old one or the new one, at any moment

Errors are `OSError`s, as everywhere in Python. Paths are relative to what was given; a leading "/" means its root, and
there is no "..". `Files` has one session with each file system (its memory is lent by this task, 64 KiB and a buffer of
256 KiB), which it ends at `close`.

When a server was restarted, all of it goes on: the session is opened anew, open files are opened again, and what was
not synced is written once more (`libsel4py.files.handle`). What cannot be had back is told by the call that needs it.
"""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, Final, Protocol, overload

from libsel4py.capabilities import Endpoint
from libsel4py.errors import ServerDied
from libsel4py.files.errors import LOST, InDoubt, LockLost, as_os_errors, os_error
from libsel4py.files.handle import Handle
from libsel4py.files.mapped import MappedFile
from libsel4py.files.modes import TextMode, flags_of, layered
from libsel4py.files.mount import BUFFER_BYTES, MOST_TRIES, POOL_BITS, Mount
from libsel4py.files.path import Path
from libsel4py.files.raw import RawFile
from libsel4py.files.watcher import Watcher
from libsel4py.interface import Interface
from libsel4py.interfaces.file import (
    NAME_BYTES,
    PATH_BYTES,
    Access,
    Directory,
    Entry,
    FileError,
    Kind,
    OpenFlags,
    Space,
    Stat,
)
from libsel4py.interfaces.mapped_files import MapAs, MappedFiles
from libsel4py.task import Task, current_task

if TYPE_CHECKING:
    from typing_extensions import Buffer

KNOWN_PATHS: Final = 256
MOST_BESIDE: Final = 100


class Resolver(Protocol):
    """A namespace: which file system has a path."""

    def resolve(self, path: str) -> tuple[str, Endpoint]:
        """The rest of the path, and the directory that it is relative to."""


class Files:
    """The files below a directory, or of a namespace.

    Args:
        source: a `Directory`, its endpoint, or a namespace; or a function that gives the endpoint of a `Directory`, and
            gives another one when the former was its server's (who was handed a subtree asks for it again so).
        task: by default the calling one.
        buffer_bytes, pool_bits: of each session (`mount.Mount`).
    Raises:
        OSError. NotEnoughMemory, OutOfSlots: this task's own.
    """

    def __init__(
        self,
        source: Directory | Endpoint | Resolver | Callable[[], Endpoint],
        task: Task | None = None,
        *,
        buffer_bytes: int = BUFFER_BYTES,
        pool_bits: int = POOL_BITS,
    ) -> None:
        self._task = task or current_task()
        self._buffer_bytes = buffer_bytes
        self._pool_bits = pool_bits
        self._mounts: dict[str, Mount] = {}  # by the path at which a namespace has them
        self._known: dict[str, tuple[Mount, str]] = {}
        self._resolver: Resolver | None = None
        self._is_closed = False
        if isinstance(source, Endpoint):
            source = Directory(source)
        if isinstance(source, Directory):
            directory = source
            self._mounts[""] = self._mount(lambda: nullcontext(directory))
        elif isinstance(source, Interface) or hasattr(source, "resolve"):
            self._resolver = source
        elif callable(source):
            give = source
            self._mounts[""] = self._mount(lambda: self._given(give()))
        else:
            raise TypeError(f"{source!r} is no Directory and no namespace")

    def close(self) -> None:
        """End the sessions: what is open of them is stale from now on, and all memory is the task's again.

        Raises OSError: something that was written to an open file is lost; all is closed.
        """
        failed: OSError | None = None
        while self._mounts:
            try:
                self._mounts.popitem()[1].close()
            except OSError as error:
                failed = failed or error
        self._known.clear()
        self._is_closed = True
        if failed is not None:
            raise failed

    def __enter__(self) -> Files:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- where a path is

    def _mount(self, find: Callable[[], AbstractContextManager[Directory]]) -> Mount:
        for left in reversed(range(MOST_TRIES)):
            try:
                with as_os_errors():
                    return Mount(find, self._task, self._buffer_bytes, self._pool_bits)
            except ServerDied:
                if not left:
                    raise
            except OSError as error:
                # What the namespace had found may have died with its server meanwhile: it finds the next life's.
                if not left or self._resolver is None or not isinstance(error.__cause__, LOST):
                    raise
        raise AssertionError("the last try has raised")

    @contextmanager
    def _given(self, endpoint: Endpoint) -> Iterator[Directory]:
        """A directory capability that is the caller's, for the length of the block."""
        try:
            yield Directory(endpoint)
        finally:
            self._task.delete(endpoint)

    def _find(self, path: str | Path) -> tuple[Mount, str]:
        """The session and the path there. Raises OSError, and ValueError once these files are closed."""
        path = str(path)
        known = self._known.get(path)
        if known is None:
            parts = path.split("/")
            if "" in parts or "." in parts:
                parts = [part for part in parts if part not in ("", ".")]
            known = self._look_up("/".join(parts))
            if len(self._known) >= KNOWN_PATHS:
                self._known.clear()
            self._known[path] = known
        return known

    def _look_up(self, path: str) -> tuple[Mount, str]:
        if self._is_closed:
            raise ValueError("these files are closed")
        if self._resolver is None:
            _ensure_short(path)
            return self._mounts[""], path
        rest, directory = self._resolve(path)
        prefix = path[: len(path) - len(rest)].rstrip("/") if rest else path
        with self._given(directory) as found:
            mount = self._mounts.get(prefix)
            if mount is None:
                first: list[Directory] = [found]

                def find() -> AbstractContextManager[Directory]:
                    """The directory that has just been found, and later whatever the namespace has there."""
                    return nullcontext(first.pop()) if first else self._given(self._resolve(prefix)[1])

                mount = self._mounts[prefix] = self._mount(find)
                first.clear()
        _ensure_short(rest)
        return mount, rest

    def _resolve(self, path: str) -> tuple[str, Endpoint]:
        assert self._resolver is not None
        for left in reversed(range(MOST_TRIES)):
            try:
                with as_os_errors(path):
                    return self._resolver.resolve("/" + path)
            except ServerDied:
                if not left:
                    raise
        raise AssertionError("the last try has raised")

    def refresh(self) -> None:
        """Ask the namespace again where paths are: it may have new mounts. Open files stay as they are."""
        self._known.clear()

    def path(self, path: str = "") -> Path:
        """A path to go on from."""
        return Path(self, path)

    # --- open

    @overload
    def open(
        self,
        path: str | Path,
        mode: TextMode = "r",
        buffering: int = ...,
        encoding: str | None = ...,
        errors: str | None = ...,
        newline: str | None = ...,
    ) -> IO[str]: ...
    @overload
    def open(
        self,
        path: str | Path,
        mode: str,
        buffering: int = ...,
        encoding: str | None = ...,
        errors: str | None = ...,
        newline: str | None = ...,
    ) -> IO[Any]: ...
    def open(
        self,
        path: str | Path,
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> IO[Any]:
        """As the builtin; text is UTF-8 unless ``encoding`` says otherwise. Raises OSError, ValueError."""
        mount, rest = self._find(path)
        name = str(path)

        def make_raw(flags: OpenFlags) -> RawFile:
            return RawFile(mount, self._task, rest, flags, name, below=buffering != 0)

        return layered(make_raw, mode, buffering, encoding, errors, newline)

    def map(
        self,
        path: str | Path,
        pager: MappedFiles,
        offset: int = 0,
        length: int | None = None,
        *,
        writable: bool = False,
        copy: bool = False,
    ) -> MappedFile:
        """A file, or a part of it, as memory: its pages come when they are touched.

        Args:
            pager: of this task. offset: a multiple of 4096. length: bytes; by default to the end of the file.
            writable: what is stored is the file's. copy: it is this mapping's alone, and the file stays as it is.
        Raises:
            OSError. ValueError: the part is empty, or not all in the file; a copy that is to be written.
        """
        if writable and copy:
            raise ValueError("a copy of a file is not written: give writable= or copy=")
        how = MapAs.COPY if copy else MapAs.WRITE if writable else MapAs.READ
        with self.open_raw(path, "r+b" if writable else "rb") as file:
            return MappedFile(pager, file, self._task, offset, length, how)

    def open_raw(self, path: str | Path, mode: str = "rb") -> RawFile:
        """Without layers above it: each read and write is a request of its own."""
        mount, rest = self._find(path)
        return RawFile(mount, self._task, rest, flags_of(mode)[0], str(path))

    def fsync(self, file: IO[Any] | io.IOBase) -> None:
        """Flush the layers of a file and put it on the medium. Raises OSError, TypeError if it is none of these files.

        A new name is on the medium when the file is, or `sync` was called.
        """
        file.flush()
        raw_of(file).sync()

    def replace_file(self, path: str | Path, data: Buffer | str) -> None:
        """Give a file new contents so that it has the old ones or the new ones at any moment, power loss included.

        They are written to a file beside it, put on the medium, and renamed. Raises OSError: it has the old ones,
        unless the medium failed last of all.
        """
        beside, file = self._beside(Path(self, str(path)))
        try:
            with file:
                file.write(data.encode() if isinstance(data, str) else data)
                file.sync()
            self.rename(beside, path)
        except BaseException:
            with suppress(OSError):
                self.remove(beside)
            raise
        mount, _ = self._find(path)
        try:
            mount.ask(lambda directory: directory.sync(), path)
        except OSError as error:
            if error.errno != errno.ENOSPC:  # which says that something of another file does not fit
                raise

    def _beside(self, target: Path) -> tuple[Path, RawFile]:
        """A new file in the directory of another one, by a name that nobody else draws."""
        short = target.name.encode()[: NAME_BYTES - 32].decode(errors="ignore")
        for _ in range(MOST_BESIDE):
            path = target.with_name(f".{short}.{os.urandom(4).hex()}.new")
            try:
                return path, self.open_raw(path, "xb")
            except (FileExistsError, InDoubt):
                continue
            except Exception:
                raise
            except BaseException:  # a signal's handler raises, where it may have been made
                with suppress(OSError):
                    self.remove(path)
                raise
        raise FileExistsError(errno.EEXIST, f"{MOST_BESIDE} files .{short}.*.new are in the way", str(target))

    @contextmanager
    def locked(self, path: str | Path, *, exclusive: bool = True, timeout: float | None = None) -> Iterator[RawFile]:
        """Hold a file's lock for the length of the block. For an exclusive one the file is made if it is missing.

        Raises OSError; TimeoutError: not in ``timeout`` seconds.
        """
        with self.open_raw(path, "ab" if exclusive else "rb") as file:
            file.lock(exclusive=exclusive, timeout=timeout)
            yield file

    def watch(self, path: str | Path = "") -> Watcher:
        """Changes to a path and to all below it."""
        mount, rest = self._find(path)
        return Watcher(mount, self._task, rest)

    # --- names

    def stat(self, path: str | Path) -> Stat:
        known = self._known.get(path) if isinstance(path, str) else None
        mount, rest = known or self._find(path)
        try:
            return mount.stat(rest)
        except LOST:
            return mount.ask(lambda directory: directory.stat(rest), path)
        except FileError as error:
            raise os_error(error, path) from error

    def exists(self, path: str | Path) -> bool:
        return Path(self, str(path)).exists()

    def list(self, path: str | Path = "") -> list[Entry]:
        """What is in a directory, sorted by name."""
        mount, rest = self._find(path)
        return mount.ask(lambda directory: directory.list(rest), path)

    def mkdir(self, path: str | Path) -> None:
        """Make a directory. Raises OSError; InDoubt: a server died of it, and it is there."""
        mount, rest = self._find(path)

        def is_made() -> bool:
            if mount.exists(rest):
                raise InDoubt("the server died: whether this directory was made now, or is another's", path)
            return False

        mount.ask(lambda directory: directory.make_directory(rest), path, is_done=is_made)

    def remove(self, path: str | Path) -> None:
        """Remove a file. Raises IsADirectoryError."""
        self._remove(path, Kind.FILE)

    def rmdir(self, path: str | Path) -> None:
        """Remove an empty directory. Raises NotADirectoryError, OSError."""
        self._remove(path, Kind.DIRECTORY)

    def _remove(self, path: str | Path, kind: Kind) -> None:
        mount, rest = self._find(path)
        found = self.stat(path).kind
        if found is not kind:
            if kind is Kind.FILE:
                raise IsADirectoryError(errno.EISDIR, "Is a directory", str(path))
            raise NotADirectoryError(errno.ENOTDIR, "Not a directory", str(path))
        mount.ask(lambda directory: directory.remove(rest), path, is_done=lambda: not mount.exists(rest))

    def rename(self, old: str | Path, new: str | Path) -> None:
        """In one step; what has the new name is replaced. Raises OSError; between two file systems EXDEV."""
        mount, old_rest = self._find(old)
        target, new_rest = self._find(new)
        if target is not mount:
            raise OSError(errno.EXDEV, "Invalid cross-device link", str(old), None, str(new))

        def is_renamed() -> bool:
            if mount.exists(old_rest):
                return False
            if not mount.exists(new_rest):
                raise InDoubt("the server died: neither the old name nor the new one is there", old)
            return True

        mount.ask(lambda directory: directory.rename(old_rest, new_rest), old, new, is_done=is_renamed)
        for each in list(mount.opened):
            if isinstance(each, Handle):
                each.moved(old_rest, new_rest)

    def space(self, path: str | Path = "") -> Space:
        mount, _ = self._find(path)
        return mount.ask(lambda directory: directory.space(), path)

    def sync(self) -> None:
        """All that was written to the file systems that were used is on their media when this returns."""
        for mount in list(self._mounts.values()):
            for each in list(mount.opened):
                if isinstance(each, Handle):
                    each.settle_writes()
            mount.ask(lambda directory: directory.sync())

    def narrow(self, path: str | Path, rights: Access) -> Endpoint:
        """A `Directory` capability to a subtree, to hand on; of no use to anybody once these files are closed."""
        mount, rest = self._find(path)
        return mount.ask(lambda directory: directory.narrow(rest, rights), path)


def raw_of(file: object) -> RawFile:
    """The raw file below the layers of `io`. Raises TypeError."""
    layer = file
    while not isinstance(layer, RawFile):
        below = getattr(layer, "buffer", None) or getattr(layer, "raw", None)
        if below is None:
            raise TypeError(f"{file!r} is no file of a Files")
        layer = below
    return layer


def _ensure_short(path: str) -> None:
    """Raises OSError (ENAMETOOLONG): no file system has such a path, and no message may have room for it."""
    if len(path.encode(errors="replace")) > PATH_BYTES:
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), path)


__all__ = ["Files", "InDoubt", "LockLost", "MappedFile", "Mount", "Path", "RawFile", "Resolver", "Watcher", "raw_of"]
