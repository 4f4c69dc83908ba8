"""Work on a volume, with what its tree is after each step.

Rules. An operation says which trees it goes through: while it runs a medium may show any of them, or the one before;
once it has returned, the last one and nothing older. Bytes that were written and not synced
show in none.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from libsel4py.filesystem.volume import OpenFile, Volume
from libsel4py.interfaces.file import Kind

Tree = dict[str, bytes | None]  # by path; None is a directory
_LARGEST: Final = 1 << 40
_BLOCK: Final = 8192  # that a small file may take


@dataclass(frozen=True, slots=True)
class Operation:
    """One call of a program. ``name``: put, append, overwrite, cut, replace, write (no sync), sync, mkdir, remove or
    rename; ``size``: of a cut; ``offset``: of an overwrite."""

    name: str
    path: str = ""
    data: bytes = b""
    other: str = ""
    at: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    """An operation that was done: the log's positions before and after it, and the trees that it went through."""

    operation: Operation
    begin: int
    end: int
    trees: tuple[Tree, ...]


class Work:
    """Does operations on a volume.

    Args:
        position: the length of its store's log.
        tree: what the volume holds at the beginning.
    """

    def __init__(self, volume: Volume, position: Callable[[], int], tree: Tree | None = None) -> None:
        self.steps: list[Step] = []
        self.first: Tree = dict(tree or {})
        self.tree: Tree = dict(self.first)
        self._volume = volume
        self._position = position
        self._open: dict[str, OpenFile] = {}
        self._unsynced: dict[str, bytes] = {}

    def do(self, operation: Operation) -> None:
        """Raises what the volume raises."""
        begin = self._position()
        trees = tuple(self._perform(operation))
        self.steps.append(Step(operation, begin, self._position(), trees))
        if trees:
            self.tree = trees[-1]

    def allowed(self, end: int) -> list[Tree]:
        """What the medium may show in the epoch that ends with the flush at ``end``, whatever of it was written.

        An operation that returned before that flush has promised to last without it.
        """
        found = [self.first]
        for step in self.steps:
            if step.end <= end:
                found = [step.trees[-1]] if step.trees else found
            elif step.begin < end:
                found.extend(step.trees)
        return found

    def _perform(self, operation: Operation) -> Iterator[Tree]:
        volume, path, data = self._volume, operation.path, operation.data
        match operation.name:
            case "put":
                yield from self._put(path, data)
            case "replace":
                part = path + ".part"
                yield from self._put(part, data)
                volume.rename(part, path)
                yield {name: held for name, held in self.tree.items() if name != part} | {path: data}
            case "append" | "overwrite" | "cut":
                yield self._change(operation)
            case "write":
                file = self._open.get(path) or volume.open(path, create=False, exclusive=False)
                self._open[path] = file
                old = self._unsynced.get(path, self._bytes(path))
                file.write(operation.at, data)
                self._unsynced[path] = _written(old, operation.at, data)
            case "sync":
                tree = self.tree
                for name, file in self._open.items():
                    file.close()
                    tree = tree | {name: self._unsynced[name]}
                    yield tree
                self._open, self._unsynced = {}, {}
            case "mkdir":
                volume.make_directory(path)
                yield self.tree | {path: None}
            case "remove":
                volume.remove(path)
                yield {name: held for name, held in self.tree.items() if name != path}
            case "rename":
                volume.rename(path, operation.other)
                yield _renamed(self.tree, path, operation.other)
            case unknown:
                raise ValueError(f"no operation is called {unknown}")

    def _put(self, path: str, data: bytes) -> Iterator[Tree]:
        """Anew: a file that is made shows empty first."""
        file = self._volume.open(path, create=True, exclusive=False)
        if path not in self.tree:
            yield self.tree | {path: b""}
        file.truncate(0)
        file.write(0, data)
        file.sync()
        file.close()
        yield self.tree | {path: data}

    def _change(self, operation: Operation) -> Tree:
        path, old = operation.path, self._bytes(operation.path)
        file = self._volume.open(path, create=False, exclusive=False)
        match operation.name:
            case "append":
                file.write(len(old), operation.data)
                new = old + operation.data
            case "overwrite":
                file.write(operation.at, operation.data)
                new = _written(old, operation.at, operation.data)
            case _:
                file.truncate(operation.at)
                new = old[: operation.at].ljust(operation.at, b"\0")
        file.sync()
        file.close()
        return self.tree | {path: new}

    def _bytes(self, path: str) -> bytes:
        held = self.tree[path]
        if held is None:
            raise ValueError(f"{path} is a directory")
        return held


def read_tree(volume: Volume) -> Tree:
    """All that a volume holds. Raises what the volume raises."""
    found: Tree = {}
    folders = [""]
    while folders:
        folder = folders.pop()
        for entry in volume.list(folder):
            path = f"{folder}/{entry.name}" if folder else entry.name
            if entry.kind is Kind.DIRECTORY:
                found[path] = None
                folders.append(path)
            else:
                file = volume.open(path, create=False, exclusive=False)
                found[path] = bytes(file.read(0, _LARGEST if entry.size > _LARGEST else entry.size + 1))
                file.close()
    return found


def scripted_work(scale: int = 1) -> list[Operation]:
    """Each operation in the ways that programs use it; files of up to 20,000 times ``scale`` bytes."""
    big = random.Random(1).randbytes(20_000 * scale)
    return [
        Operation("put", "a", b"one"),
        Operation("put", "big", big),
        Operation("append", "a", b" and two"),
        Operation("append", "big", big[:9000]),
        Operation("mkdir", "d"),
        Operation("mkdir", "d/e"),
        Operation("put", "d/b", b"b" * 3000),
        Operation("overwrite", "big", b"x" * 700, at=5000),
        Operation("replace", "a", b"replaced"),
        Operation("replace", "big", big[::-1]),
        Operation("rename", "a", other="d/e/a"),
        Operation("rename", "d/b", other="big"),
        Operation("write", "big", b"not synced" * 500, at=1000),
        Operation("put", "other", b"of another"),
        Operation("sync"),
        Operation("cut", "big", at=2000),
        Operation("cut", "other", at=0),
        Operation("rename", "d", other="moved"),
        Operation("remove", "big"),
        Operation("remove", "moved/e/a"),
        Operation("remove", "moved/e"),
    ]


def random_work(randomly: random.Random, work: Work, count: int, most_bytes: int) -> Iterator[Operation]:
    """``count`` operations that the tree of ``work`` allows at their time, with at most ``most_bytes`` in its files."""
    unsynced: set[str] = set()
    for _ in range(count):
        operation = _choose(randomly, work.tree, unsynced, most_bytes)
        if operation.name == "write":
            unsynced.add(operation.path)
        elif operation.name == "sync":
            unsynced.clear()
        yield operation


def _choose(randomly: random.Random, tree: Tree, unsynced: set[str], most_bytes: int) -> Operation:
    files = [path for path, held in tree.items() if held is not None and path not in unsynced]
    folders = [path for path, held in tree.items() if held is None]
    room = most_bytes - sum(max(len(held), _BLOCK) for held in tree.values() if held is not None)
    name = randomly.choice(
        ("put", "append", "overwrite", "cut", "replace", "write", "sync", "mkdir", "remove", "rename")
    )
    data = randomly.randbytes(_size(randomly, max(1, room)))
    fresh = _fresh(randomly, folders)
    match name:
        case "mkdir" if len(folders) < 4 and fresh not in tree:
            return Operation("mkdir", fresh)
        case "put" if room > most_bytes // 8 and tree.get(fresh, b"") is not None and fresh not in unsynced:
            return Operation("put", fresh, data)
        case "sync":
            return Operation("sync")
        case "rename" if folders and not unsynced and randomly.random() < 0.3:
            old = randomly.choice(folders)
            if fresh not in tree and not fresh.startswith(old + "/"):
                return Operation("rename", old, other=fresh)
        case "remove" if folders and randomly.random() < 0.3:
            folder = randomly.choice(folders)
            if not any(path.startswith(folder + "/") for path in tree):
                return Operation("remove", folder)
    if not files:
        return Operation("sync")
    path = randomly.choice(files)
    size = len(tree[path] or b"")
    match name:
        case "append" | "replace" | "overwrite" | "write" if room > most_bytes // 8:
            return Operation(name, path, data, at=randomly.randrange(size + 1))
        case "cut":
            return Operation("cut", path, at=randomly.randrange(size + 1))
        case "rename" if fresh != path and tree.get(fresh, b"") is not None and fresh not in unsynced:
            return Operation("rename", path, other=fresh)
        case _:
            return Operation("remove", path)


def _size(randomly: random.Random, room: int) -> int:
    """Of inline files, of one block, of several."""
    return min(room, randomly.choice((randomly.randrange(60), randomly.randrange(1500), randomly.randrange(40_000))))


def _fresh(randomly: random.Random, folders: Sequence[str]) -> str:
    name = randomly.choice("abcdefgh")
    folder = randomly.choice(("", *folders))
    return f"{folder}/{name}" if folder else name


def _written(old: bytes, at: int, data: bytes) -> bytes:
    return old[:at].ljust(at, b"\0") + data + old[at + len(data) :]


def _renamed(tree: Tree, old: str, new: str) -> Tree:
    kept = {path: held for path, held in tree.items() if path != new}
    return {
        new + path[len(old) :] if path == old or path.startswith(old + "/") else path: held
        for path, held in kept.items()
    }
