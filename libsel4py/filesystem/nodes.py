"""Files that are open, each once, however many handles it has; and what becomes of them when names change."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Final

from libsel4py.filesystem.locks import FileLock
from libsel4py.filesystem.paths import is_within, moved
from libsel4py.filesystem.volume import OpenFile
from libsel4py.interfaces.file import StaleHandle

MOST_LOCKED: Final = 4096  # names whose locks are remembered


@dataclass(slots=True, eq=False)
class Node:
    """An open file. ``path`` is None once it has no name any more; ``number`` is that of no other one."""

    path: str | None
    file: OpenFile
    lock: FileLock = field(default_factory=FileLock)
    users: int = 0
    number: int = field(default_factory=itertools.count(1).__next__)


class Nodes:
    """Open files by name. ``find`` gives that of a path, or None."""

    def __init__(self) -> None:
        self._locked: dict[str, bool] = {}  # names whose lock was given in this life; whether exclusively
        self._has_forgotten = False
        self._by_path: dict[str, Node] = {}
        self.find = self._by_path.get

    def __len__(self) -> int:
        return len(self._by_path)

    def size(self, path: str) -> int | None:
        """Bytes of an open file; None if it is not open. One that the volume has given up loses its name here."""
        node = self._by_path.get(path)
        if node is None:
            return None
        try:
            return node.file.size()
        except StaleHandle:
            self._loses_name(path)
            return None

    def add(self, path: str, file: OpenFile) -> Node:
        """A file that has just been opened."""
        node = self._by_path[path] = Node(path, file)
        node.lock = FileLock(lambda exclusive: self._note_lock(node, exclusive))
        return node

    def may_reclaim(self, node: Node, exclusive: bool) -> bool:
        """Whether the file's lock was given to nobody in this life whom this mode would have kept out."""
        if self._has_forgotten or node.path is None:
            return False
        given = self._locked.get(node.path)
        return given is None or not (given or exclusive)

    def _note_lock(self, node: Node, exclusive: bool) -> None:
        if node.path is None:
            return
        if len(self._locked) >= MOST_LOCKED:
            self._has_forgotten = True
            self._locked.clear()
        self._locked[node.path] = exclusive or self._locked.get(node.path, False)

    def leave(self, node: Node) -> None:
        """One handle less. After the last one the file is closed. Raises as `OpenFile.close`."""
        node.users -= 1
        if node.users:
            return
        if node.path is not None:
            del self._by_path[node.path]
        node.file.close()

    def removed(self, path: str) -> None:
        """The name is gone, or stands for something else; who had locked what it stood for, has lost that as well."""
        self._locked.pop(path, None)
        self._loses_name(path)

    def lost(self, path: str) -> None:
        """Nobody knows what is at this path or below it."""
        for each in [each for each in {*self._locked, *self._by_path} if is_within(each, path)]:
            self.removed(each)

    def _loses_name(self, path: str) -> None:
        node = self._by_path.pop(path, None)
        if node is not None:
            node.path = None

    def renamed(self, old: str, new: str, is_directory: bool) -> None:
        """A file, or a directory with all in it, has another name, and what had that name is replaced."""
        self.removed(new)
        for path in [path for path in self._locked if is_within(path, old)]:
            self._locked[moved(path, old, new)] = self._locked.pop(path)
        paths = [old] if old in self._by_path else []
        if is_directory:
            paths = [path for path in self._by_path if is_within(path, old)]
        for path in paths:
            node = self._by_path.pop(path)
            node.path = moved(path, old, new)
            self._by_path[node.path] = node
