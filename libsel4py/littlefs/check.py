"""Is a file system whole? Mounts it, walks every directory, reads every file, and asks who has which block.

Rules. Nothing is written: what a mount would finish is finished in memory. An image may hold anything: names, sizes and
directories that go round are bounded. littlefs keeps no checksum of a file's bytes, so that those are changed is not
seen here; that a file cannot be read, or that two have one block, is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from littlefs import lfs
from littlefs.errors import LittleFSError

from libsel4py.littlefs.cache import BlockCache
from libsel4py.littlefs.format import Geometry, read_geometry
from libsel4py.littlefs.overlay import Overlay
from libsel4py.littlefs.store import BlockStore

MOST_PROBLEMS: Final = 100
MOST_PATH_BYTES: Final = 700
PIECE_BYTES: Final = 256 << 10
CACHE_BYTES: Final = 4 << 20
_DIRECTORY: Final = 2


@dataclass
class Health:
    """What was found.

    Attributes:
        used_blocks: as littlefs counts them. orphans: blocks of those that no file and no directory has; None where
            that cannot be told, since wear levelling, which is not ours, has moved the root.
        unfinished: a power loss left something half done, which the next mount finishes; that is no problem.
        problems: a sentence each, at most 100.
    """

    geometry: Geometry
    files: int = 0
    directories: int = 0
    file_bytes: int = 0
    used_blocks: int = 0
    orphans: int | None = 0
    unfinished: bool = False
    problems: list[str] = field(default_factory=list)


class _Watched(BlockCache):
    """Notes which blocks littlefs reads."""

    def __init__(self, store: BlockStore, block_bytes: int, most_bytes: int) -> None:
        super().__init__(store, block_bytes, most_bytes)
        self.seen: set[int] = set()

    def read(self, cfg: object, block: int, off: int, size: int) -> bytearray | bytes:
        self.seen.add(block)
        return super().read(cfg, block, off, size)


class _Changed(Overlay):
    """Knows whether anything was written."""

    @property
    def is_changed(self) -> bool:
        return bool(self._sectors)


def check(store: BlockStore) -> Health:
    """Look at all of it. Raises NoFileSystem, StoreFailed (the medium itself cannot be read)."""
    return _Check(store).run()


class _Check:
    def __init__(self, store: BlockStore) -> None:
        geometry = read_geometry(store)
        self._health = Health(geometry)
        self._store = _Changed(store)
        self._cache = _Watched(self._store, geometry.block_bytes, CACHE_BYTES)
        self._configuration = geometry.configuration(self._cache)
        self._system = lfs.LFSFilesystem()
        self._most_entries = 64 + store.size // 16  # an entry has more bytes than that in its directory
        self._metadata: set[int] = set()
        self._owners: dict[int, str] = {}

    def run(self) -> Health:
        health = self._health
        if not self._try("the file system cannot be mounted", lambda: lfs.mount(self._system, self._configuration)):
            return health
        try:
            self._look_around()
        finally:
            lfs.unmount(self._system)
        return health

    def _look_around(self) -> None:
        health = self._health
        self._try("what a power loss left cannot be finished", lambda: lfs.fs_mkconsistent(self._system))
        health.unfinished = self._store.is_changed
        self._walk()
        if not health.problems:
            self._try("its blocks cannot be counted", self._count)

    def _walk(self) -> None:
        folders, entries = [""], 0
        while folders:
            folder = folders.pop()
            self._health.directories += bool(folder)
            found: list[lfs.LFSStat] = []
            self._cache.seen.clear()
            self._try(f"{folder or '/'}: the directory cannot be read", lambda: found.extend(self._list(folder)))  # noqa: B023 - at once
            self._metadata |= self._cache.seen
            entries += len(found)
            if entries > self._most_entries:
                self._say("the directories go round, or hold more names than there is room for")
                return
            for entry in found:
                self._look(folder, entry, folders)

    def _look(self, folder: str, entry: lfs.LFSStat, folders: list[str]) -> None:
        path = f"{folder}/{entry.name}" if folder else entry.name
        if not entry.name or "/" in entry.name or "\0" in entry.name:
            self._say(f"{path!r}: a name that no file can have")
        elif len(path.encode()) > MOST_PATH_BYTES:
            self._say(f"{path[:80]}…: directories this deep cannot be reached, or go round")
        elif entry.type == _DIRECTORY:
            folders.append(path)
        else:
            self._health.files += 1
            self._try(f"{path}: the file cannot be read", lambda: self._read(path, entry.size))

    def _list(self, folder: str) -> list[lfs.LFSStat]:
        found = []
        handle = lfs.dir_open(self._system, folder or "/")
        try:
            while (entry := lfs.dir_read(self._system, handle)) is not None:
                if entry.name not in (".", ".."):
                    found.append(entry)
                if len(found) > self._most_entries:
                    break
        finally:
            lfs.dir_close(self._system, handle)
        return found

    def _read(self, path: str, size: int) -> None:
        handle = lfs.file_open(self._system, path, "r")
        left = size
        try:
            self._cache.seen.clear()
            while left > 0 and (data := lfs.file_read(self._system, handle, min(left, PIECE_BYTES))):
                left -= len(data)
        finally:
            lfs.file_close(self._system, handle)
        if left:
            self._say(f"{path}: it should have {size} bytes, and ends {left} earlier")
        self._health.file_bytes += size - left
        for block in self._cache.seen - self._metadata:
            other = self._owners.setdefault(block, path)
            if other != path:
                self._say(f"{path}: block {block} is of {other}, too")

    def _count(self) -> None:
        self._health.used_blocks = lfs.fs_size(self._system)
        if both := self._metadata & self._owners.keys():
            self._say(f"blocks {sorted(both)[:10]} are of directories, and of files, too")
        known = len(self._metadata) + len(self._owners)
        self._health.orphans = max(0, self._health.used_blocks - known) if self._metadata >= {0, 1} else None

    def _try(self, what: str, function: Callable[[], object]) -> bool:
        """Whether it could be done. Raises StoreFailed."""
        try:
            function()
        except (LittleFSError, UnicodeDecodeError) as error:
            if self._cache.error is not None:
                raise self._cache.error from error
            self._say(f"{what}: {error}")
            return False
        if self._cache.error is not None:
            raise self._cache.error
        return True

    def _say(self, problem: str) -> None:
        if len(self._health.problems) < MOST_PROBLEMS:
            self._health.problems.append(problem)
