"""Data spaces of memory and of files (`libsel4py.interfaces.data_space`).

``memory`` is the name of new memory, which is gone when it is closed. ``NAME/PATH`` is a file, where NAME is this
server's connection to a directory or namespace: who is connected to this server opens what this server may, so its own
share of a file system is to be what its clients may see. A client has ``bytes`` at most (256 KiB): of memory, and of
pages of files that are mapped. They are made from this server's pool, which must have room for that.

A file that is open twice is two data spaces: what was written to one through a mapping is in the file when that is
closed. Where the file system dies, the SDK goes on with the next life of it (`libsel4py.files`).

Another server's data space that does not answer keeps all clients waiting. When what one client has named has done that
`MOST_WAITS` times, none of it is asked any more.
"""

from __future__ import annotations

import io
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

from libsel4py import Endpoint, component
from libsel4py.abi import VMFault
from libsel4py.data_server import Content, DataServer
from libsel4py.errors import KernelError
from libsel4py.files import Files
from libsel4py.files.raw import RawFile
from libsel4py.interface import with_timeout
from libsel4py.interfaces.data_space import (
    AT_POSITION,
    NoRoom,
    NoSuchData,
    NotPossible,
    OpenData,
    OpenFlags,
)
from libsel4py.interfaces.memory_object import PAGE_BYTES, DataError, MemoryObject
from libsel4py.lowlevel.cspace import OutOfSlots
from libsel4py.lowlevel.vspace import OutOfAddresses
from libsel4py.pagers.data_pages import DataPages
from libsel4py.pagers.frames import Frames
from libsel4py.pagers.residence import OBJECT_FAILURES
from libsel4py.pagers.window import Window
from libsel4py.signature import Word

MEMORY: Final = "memory"
BYTES: Final = 256 << 10
PATIENCE: Final = 5.0  # seconds, for a page of another server's data space
MOST_WAITS: Final = 3  # that were as long, for what one client has named
_OWN: Final = (DataError, KernelError, OutOfSlots, OutOfAddresses, VMFault)
_FAILURES: Final = (*OBJECT_FAILURES, KernelError)


class Paged(Content):
    """What is read, written and mapped by pages."""

    def __init__(self, pages: DataPages) -> None:
        self.pages = pages
        self.is_open = True

    @property
    def charged(self) -> int:
        """Pages that its client is charged for."""
        return self.pages.count

    def read(self, offset: int, length: int) -> bytes:
        try:
            return self.pages.read(offset, length)
        except _OWN as error:
            raise NoRoom(f"the bytes at {offset} cannot be had: {error}") from error

    def write(self, offset: int, data: bytes) -> int:
        taken = data[: max(0, self.pages.bytes - offset)]
        if data and not taken:
            raise NotPossible(f"offset {offset} is behind its {self.pages.bytes} bytes: expand it first")
        try:
            self.pages.write(offset, taken)
        except _OWN as error:
            raise NoRoom(f"the bytes at {offset} cannot be kept: {error}") from error
        return len(taken)

    def size(self) -> int:
        return self.pages.bytes

    def memory(self, can_write: bool) -> MemoryObject:
        return self.pages.object(writable=can_write)

    def close(self) -> None:
        self.is_open = False
        self.pages.close()


class Memory(Paged):
    """New memory, zeroes or another server's data at first."""

    def __init__(self, server: Main, size: int, owner: str) -> None:
        server.ensure_affordable(owner, size)
        super().__init__(DataPages(server.frames, size))
        self._server, self._owner = server, owner
        self._source: Endpoint | None = None

    @property
    def charged(self) -> int:
        """All that it may have: what is there is not refused later."""
        return _pages(self.pages.bytes)

    def expand(self, size: int) -> None:
        self._server.ensure_affordable(self._owner, size, self)
        self.pages.bytes = size

    def init_data(self, source: Endpoint, offset: int) -> None:
        if self._source is not None or self.pages.count:
            raise NotPossible("this memory has contents already")
        self._server.task.receive.unclaimed.discard(source.cptr)
        self._source, data = source, with_timeout(OpenData(source), PATIENCE)

        def fetch(at: int, length: int) -> bytes:
            if offset + at >= AT_POSITION:
                return b""  # no data space is as long
            try:
                with self._server.waiting_for(self._owner):
                    return data.read(Word(offset + at), length)
            except _FAILURES as error:
                raise DataError(f"the first contents cannot be had: {error}") from error

        self.pages.fetch = fetch

    def close(self) -> None:
        super().close()
        source, self._source = self._source, None
        if source is not None:
            self._server.task.delete(source)


class File(Paged):
    """A file."""

    def __init__(self, server: Main, file: RawFile, owner: str) -> None:
        self._file = file
        has_room = partial(server.has_room, owner)
        size = file.seek(0, io.SEEK_END)
        super().__init__(DataPages(server.frames, size, has_room=has_room, fetch=self._fetch, store=self._store))

    def _fetch(self, offset: int, length: int) -> bytes:
        try:
            self._file.seek(offset)
            return self._file.read(length) or b""
        except OSError as error:
            raise DataError(f"the file cannot be read: {error}") from error

    def _store(self, offset: int, data: bytes) -> None:
        try:
            self._file.seek(offset)
            while data:
                data = data[self._file.write(data) :]
        except OSError as error:
            raise DataError(f"the file cannot be written: {error}") from error

    def expand(self, size: int) -> None:
        try:
            self._file.truncate(size)
        except OSError as error:
            raise NoRoom(f"the file cannot be made longer: {error}") from error
        self.pages.bytes = size

    def close(self) -> None:
        try:
            super().close()
        except _OWN as error:
            raise NoRoom(f"what was written through a mapping is lost: {error}") from error
        finally:
            self._close_file()

    def _close_file(self) -> None:
        try:
            self._file.close()
        except OSError as error:
            raise NoRoom(f"what was written is lost: {error}") from error


@component
class Main(DataServer):
    """The server."""

    def start(self) -> None:
        task = self.task
        self.frames = Frames(task.cnode, task.slots, task.memory, Window(task))
        self.most = int(str(task.environment.configuration.get("bytes", BYTES))) // PAGE_BYTES  # pages of one client
        self._contents: list[tuple[str, Paged]] = []  # with whose each is
        self._waits: Counter[str] = Counter()  # by client
        self._files: dict[str, Files] = {}

    def data_space(self, name: str, how: OpenFlags, size: int) -> Content:
        owner = self.caller.name
        content = Memory(self, size, owner) if name == MEMORY else self._file(name, how, owner)
        self._contents = [*self._still_open(), (owner, content)]
        return content

    @contextmanager
    def waiting_for(self, owner: str) -> Iterator[None]:
        """Around what another server is asked, which a client has named. Raises DataError: it may name none now."""
        if self._waits[owner] >= MOST_WAITS:
            raise DataError(f"what {owner} has named let all others wait {MOST_WAITS} times: it is asked nothing more")
        begun, in_vain = time.monotonic(), False
        try:
            yield
        except TimeoutError:
            in_vain = True
            raise
        finally:
            self._waits[owner] += in_vain or time.monotonic() - begun >= PATIENCE

    def has_room(self, owner: str) -> bool:
        """Whether a client may have one page more."""
        return self._charged(owner) < self.most

    def ensure_affordable(self, owner: str, size: int, itself: Paged | None = None) -> None:
        """Raises NoRoom: the client may not have so many bytes beside its others. NoSuchData: they are none."""
        if size < 1:
            raise NoSuchData("memory of no bytes is none: say how many")
        has = self._charged(owner, itself)
        if has + _pages(size) > self.most:
            raise NoRoom(f"{owner} has {has} of {self.most} pages, and asks for {_pages(size)}")

    def _charged(self, owner: str, but: Paged | None = None) -> int:
        return sum(each.charged for name, each in self._still_open() if name == owner and each is not but)

    def _still_open(self) -> list[tuple[str, Paged]]:
        return [each for each in self._contents if each[1].is_open]

    def _file(self, name: str, how: OpenFlags, owner: str) -> File:
        connection, _, path = name.partition("/")
        if connection not in self.task.environment.connections:
            known = ", ".join(f"{each}/…" for each in sorted(self.task.environment.connections))
            raise NoSuchData(f"no data space {name!r} is here: there is {MEMORY!r}, {known}")
        try:
            return File(self, self._open(connection, path, how), owner)
        except OSError as error:
            raise NoSuchData(f"{name!r}: {error.strerror}") from error

    def _open(self, connection: str, path: str, how: OpenFlags) -> RawFile:
        files = self._files.get(connection)
        if files is None:
            files = self._files[connection] = Files(getattr(self.uses, connection))
        if not how & OpenFlags.WRITE:
            return files.open_raw(path)
        if how & OpenFlags.CREATE and not files.exists(path):
            files.open_raw(path, "xb").close()
        return files.open_raw(path, "r+b")


def _pages(size: int) -> int:
    return -(-size // PAGE_BYTES)
