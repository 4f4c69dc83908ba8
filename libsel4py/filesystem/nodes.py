"""Files that are open, each once, however many handles it has; and what becomes of them when names change."""

from __future__ import annotations

from dataclasses import dataclass, field

from libsel4py.filesystem.locks import FileLock
from libsel4py.filesystem.paths import is_within, moved
from libsel4py.filesystem.volume import OpenFile
from libsel4py.interfaces.file import StaleHandle


@dataclass(slots=True, eq=False)
class Node:
    """An open file. ``path`` is None once it has no name any more."""

    path: str | None
    file: OpenFile
    lock: FileLock = field(default_factory=FileLock)
    users: int = 0


class Nodes:
    """Open files by name. ``find`` gives that of a path, or None."""

    def __init__(self) -> None:
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
            self.removed(path)
            return None

    def add(self, path: str, file: OpenFile) -> Node:
        """A file that has just been opened."""
        node = self._by_path[path] = Node(path, file)
        return node

    def leave(self, node: Node) -> None:
        """One handle less. After the last one the file is closed. Raises as `OpenFile.close`."""
        node.users -= 1
        if node.users:
            return
        if node.path is not None:
            del self._by_path[node.path]
        node.file.close()

    def removed(self, path: str) -> None:
        """The name is gone, or stands for something else."""
        node = self._by_path.pop(path, None)
        if node is not None:
            node.path = None

    def renamed(self, old: str, new: str, is_directory: bool) -> None:
        """A file, or a directory with all in it, has another name, and what had that name is replaced."""
        self.removed(new)
        paths = [old] if old in self._by_path else []
        if is_directory:
            paths = [path for path in self._by_path if is_within(path, old)]
        for path in paths:
            node = self._by_path.pop(path)
            node.path = moved(path, old, new)
            self._by_path[node.path] = node
