"""What is examined, and how checks use it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from typing import Any, Final

from libsel4py.capabilities import Endpoint
from libsel4py.dataspace import DataSpace
from libsel4py.interface import endpoint_of
from libsel4py.interfaces.file import Directory, Entry, File, FileError, Kind, OpenFlags
from libsel4py.lending import LentPool, lend
from libsel4py.task import Task

BUFFER_BYTES: Final = 64 << 10
POOL_BITS: Final = 15
READ: Final = OpenFlags.READ
WRITE: Final = OpenFlags.WRITE
BOTH: Final = OpenFlags.READ | OpenFlags.WRITE
NEW: Final = BOTH | OpenFlags.CREATE


class Subject:
    """A file system under examination.

    Args:
        directory: a capability without session to an empty subtree, for reading and writing. task: the calling one.
        background: runs a call that waits on a thread of its own; checks that need it are left out without it.
        big_bytes: a size of file that must fit, four times.
        restart: ends the server, and returns when it was started again; checks that need it are left out without it.
    """

    def __init__(
        self,
        directory: Directory,
        task: Task,
        background: Callable[[Callable[[], Any]], Future[Any]] | None = None,
        big_bytes: int = 300_000,
        restart: Callable[[], object] | None = None,
    ) -> None:
        self.directory = directory
        self.task = task
        self.background = background
        self.big_bytes = big_bytes
        self.restart = restart

    def clear(self) -> None:
        """Remove all that is there."""
        for entry in self.directory.list(""):
            _remove(self.directory, entry.name, entry)

    @contextmanager
    def client(self, directory: Directory | None = None, pool_bits: int = POOL_BITS) -> Iterator[Client]:
        """A session for the length of the block."""
        with ExitStack() as stack:
            pool = stack.enter_context(lend(self.task, pool_bits))
            made = Client(self, directory or self.directory, pool)
            stack.callback(made.end)
            yield made

    @contextmanager
    def narrowed(self, directory: Directory, path: str, rights: int) -> Iterator[Directory]:
        """A narrowed capability for the length of the block."""
        endpoint = directory.narrow(path, rights)
        yield Directory(endpoint)
        self.task.delete(endpoint)


class Client:
    """A session with its buffer.

    Attributes:
        directory: its capability, called. pool: what was lent. space: the buffer, and memory: where it is seen.
    """

    def __init__(self, subject: Subject, directory: Directory, pool: LentPool) -> None:
        self.pool = pool
        self._task = subject.task
        self._given: list[Endpoint] = []
        self.directory = Directory(self._own(directory.session(pool.untyped)))
        self.space = DataSpace.allocate(BUFFER_BYTES, self._task)
        self.memory = self.space.attach()
        self.directory.attach(self.space.share())

    def _own(self, endpoint: Endpoint) -> Endpoint:
        self._given.append(endpoint)
        return endpoint

    def end(self) -> None:
        """Give back what the client has; the session ends with its pool."""
        self.space.close()
        for endpoint in self._given:
            self._task.delete(endpoint)

    def open(self, path: str, flags: int = NEW) -> File:
        """An open file."""
        return File(self._own(self.directory.open(path, flags)[1]))

    def put(self, path: str, data: bytes) -> None:
        """A file with these bytes and no others."""
        file = self.open(path, NEW | OpenFlags.TRUNCATE)
        self.write(file, 0, data)
        self.close(file)

    def get(self, path: str) -> bytes:
        """All bytes of a file."""
        file = self.open(path, READ)
        data = self.read(file, 0, file.size())
        self.close(file)
        return data

    def close(self, file: File) -> None:
        """End a file, and its capability."""
        file.close()
        endpoint = endpoint_of(file)
        self._given.remove(endpoint)
        self._task.delete(endpoint)

    def write(self, file: File, offset: int, data: bytes) -> None:
        """Write by the buffer."""
        for start in range(0, len(data), BUFFER_BYTES):
            piece = data[start : start + BUFFER_BYTES]
            self.memory.write(0, piece)
            written = file.write(offset + start, len(piece), 0)
            assert written == len(piece), f"{written} of {len(piece)} bytes were written"

    def read(self, file: File, offset: int, length: int) -> bytes:
        """Read by the buffer; fewer at the end."""
        parts = []
        while length:
            count = file.read(offset, min(length, BUFFER_BYTES), 0)
            parts.append(self.memory.read(0, count))
            offset, length = offset + count, length - count
            if not count:
                break
        return b"".join(parts)


def names(entries: list[Entry]) -> list[str]:
    """Names alone."""
    return [entry.name for entry in entries]


def _remove(directory: Directory, path: str, entry: Entry) -> None:
    if entry.kind is Kind.DIRECTORY:
        for below in directory.list(path):
            _remove(directory, f"{path}/{below.name}", below)
    directory.remove(path)


Check = Callable[[Subject], None]
CHECKS: Final[dict[str, Check]] = {}
NEEDS_BACKGROUND: Final[set[str]] = set()
NEEDS_RESTART: Final[set[str]] = set()


def check(function: Check) -> Check:
    """Register a check under the first word of its docstring."""
    name = (function.__doc__ or "").split()[0]
    if name in CHECKS:
        raise ValueError(f"two checks are called {name}")
    CHECKS[name] = function
    return function


def waits(function: Check) -> Check:
    """The same of a check that needs `Subject.background`."""
    check(function)
    NEEDS_BACKGROUND.add((function.__doc__ or "").split()[0])
    return function


def restarts(function: Check) -> Check:
    """The same of a check that needs `Subject.restart`."""
    check(function)
    NEEDS_RESTART.add((function.__doc__ or "").split()[0])
    return function


__all__ = ["BOTH", "CHECKS", "NEW", "READ", "WRITE", "Client", "FileError", "Subject", "check", "names"]
