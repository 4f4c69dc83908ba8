"""A volume in the server's memory (`libsel4py.filesystem.Volume`).

Names stand in one table by their whole path, so that a look at one is one step, however deep it is; a directory knows
the names in it. Names count against the same bytes as contents, so that nobody fills the memory with empty files.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from libsel4py.filesystem.paths import is_within, moved, parent_of
from libsel4py.interfaces.file import (
    NAME_BYTES,
    DirectoryNotEmpty,
    Entry,
    FileExists,
    IsDirectory,
    Kind,
    NoSuchFile,
    NotDirectory,
    Origin,
    Space,
    Stat,
)
from servers.ramfs.contents import Budget, Contents

if TYPE_CHECKING:
    from typing_extensions import Buffer

BLOCK_BYTES: Final = 4096
NODE_BYTES: Final = 1024  # what a name costs, with its path
_numbers: Final = itertools.count(1)  # of files, each once


class Folder:
    """A directory: the names in it. ``known``: what `stat` said last, as long as it is so."""

    __slots__ = ("_clock", "_modified_ns", "known", "names")

    def __init__(self, clock: Callable[[], int]) -> None:
        self.names: set[str] = set()
        self._clock = clock
        self.touch()

    def touch(self) -> None:
        """A name has come or gone."""
        self._modified_ns = self._clock()
        self.known: Stat | None = None

    def stat(self) -> Stat:
        self.known = Stat(Kind.DIRECTORY, 0, self._modified_ns)
        return self.known


class RamFile:
    """A file, open or not (`libsel4py.filesystem.OpenFile`).

    Its bytes go when it has no name and is not open any more. ``known``: what `stat` said last, as long as it is so.
    """

    __slots__ = ("_clock", "_contents", "_modified_ns", "has_name", "is_open", "known", "number")

    def __init__(self, budget: Budget, clock: Callable[[], int]) -> None:
        self._contents = Contents(budget)
        self.number = next(_numbers)
        self._clock = clock
        self._touch()
        self.has_name = True
        self.is_open = False

    def read(self, offset: int, length: int, /) -> Buffer:
        return self._contents.read(offset, length)

    def write(self, offset: int, data: bytes, /) -> None:
        self._contents.write(offset, data)
        self._touch()

    def size(self) -> int:
        return self._contents.size

    def truncate(self, size: int, /) -> None:
        self._contents.truncate(size)
        self._touch()

    def _touch(self) -> None:
        self._modified_ns = self._clock()
        self.known: Stat | None = None

    def stat(self) -> Stat:
        self.known = Stat(Kind.FILE, self._contents.size, self._modified_ns)
        return self.known

    def sync(self) -> None:
        """Memory is all there is."""

    def close(self) -> None:
        self.is_open = False
        self.end_if_unused()

    def end_if_unused(self) -> None:
        if not self.is_open and not self.has_name:
            self._contents.clear()


class RamVolume:
    """Files of at most ``total`` bytes in all. ``clock``: nanoseconds since 1970."""

    read_only: Final = False

    def __init__(self, total: int, clock: Callable[[], int] = time.time_ns) -> None:
        self.origin = Origin(int.from_bytes(os.urandom(8), "little") >> 2, survives=False)
        self._budget = Budget(total)
        self._clock = clock
        self._nodes: dict[str, Folder | RamFile] = {"": Folder(clock)}

    def identity(self, path: str, /) -> int:
        node = self._find(path)
        return node.number if isinstance(node, RamFile) else 0

    def stat(self, path: str, /) -> Stat:
        node = self._nodes.get(path)
        if node is None:
            node = self._find(path)
        return node.known or node.stat()

    def list(self, path: str, /) -> Iterator[Entry]:
        below = f"{path}/" if path else ""
        for name in self._folder(path).names:
            node = self._nodes[below + name]
            if isinstance(node, RamFile):
                yield Entry(name, Kind.FILE, node.size())
            else:
                yield Entry(name, Kind.DIRECTORY, 0)

    def open(self, path: str, /, *, create: bool, exclusive: bool) -> RamFile:
        node = self._nodes.get(path)
        if node is None and create:
            node = RamFile(self._budget, self._clock)
            self._add(path, node)
        elif node is None:
            node = self._find(path)
        elif create and exclusive:
            raise FileExists(f"{path!r} is there already")
        if isinstance(node, Folder):
            raise IsDirectory(f"{path!r} is a directory")
        node.is_open = True
        return node

    def make_directory(self, path: str, /) -> None:
        if path in self._nodes:
            raise FileExists(f"{path!r} is there already")
        self._add(path, Folder(self._clock))

    def remove(self, path: str, /) -> None:
        self._ensure_empty(path, self._find(path))
        self._take_out(path)

    def rename(self, old: str, new: str, /) -> None:
        node, replaced = self._find(old), self._nodes.get(new)
        self._folder(parent_of(new))
        if replaced is not None:
            if isinstance(node, Folder) and not isinstance(replaced, Folder):
                raise NotDirectory(f"{new!r} is a file, and cannot be replaced by a directory")
            if isinstance(replaced, Folder) and not isinstance(node, Folder):
                raise IsDirectory(f"{new!r} is a directory, and cannot be replaced by a file")
            self._ensure_empty(new, replaced)
        if replaced is not None:
            self._take_out(new)
        self._folder(parent_of(old)).names.discard(old.rpartition("/")[2])
        paths = [old] if isinstance(node, RamFile) else [path for path in self._nodes if is_within(path, old)]
        for path in paths:
            self._nodes[moved(path, old, new)] = self._nodes.pop(path)
        self._touch(parent_of(old))
        self._folder(parent_of(new)).names.add(new.rpartition("/")[2])
        self._touch(parent_of(new))

    def space(self) -> Space:
        blocks = self._budget.total // BLOCK_BYTES
        used = -(-self._budget.used // BLOCK_BYTES)
        return Space(BLOCK_BYTES, blocks, max(0, blocks - used), NAME_BYTES)

    def sync(self) -> None:
        """Memory is all there is."""

    # --- inside

    def _find(self, path: str) -> Folder | RamFile:
        node = self._nodes.get(path)
        if node is None:
            raise NoSuchFile(f"there is no {path!r}")
        return node

    def _folder(self, path: str) -> Folder:
        node = self._nodes.get(path)
        if isinstance(node, Folder):
            return node
        above = path
        while node is None and above:
            above = parent_of(above)
            node = self._nodes.get(above)
        if isinstance(node, RamFile):
            raise NotDirectory(f"{above!r} is a file, and nothing is in it")
        raise NoSuchFile(f"there is no directory {path!r}")

    def _add(self, path: str, node: Folder | RamFile) -> None:
        folder = self._folder(parent_of(path))
        self._budget.take(NODE_BYTES)
        self._nodes[path] = node
        folder.names.add(path.rpartition("/")[2])
        folder.touch()

    def _take_out(self, path: str) -> None:
        node = self._nodes.pop(path)
        self._folder(parent_of(path)).names.discard(path.rpartition("/")[2])
        self._touch(parent_of(path))
        self._budget.give_back(NODE_BYTES)
        if isinstance(node, RamFile):
            node.has_name = False
            node.end_if_unused()

    def _touch(self, path: str) -> None:
        self._folder(path).touch()

    def _ensure_empty(self, path: str, node: Folder | RamFile) -> None:
        if isinstance(node, Folder) and node.names:
            raise DirectoryNotEmpty(f"{path!r} is not empty")
