"""A littlefs as a `libsel4py.filesystem.Volume`.

Rules. littlefs knows its open files by their place in a directory, which a rename changes: files that are open are
synced and closed before one and opened again after it, under their new names; where one of them has no room for what
was written to it, there is no rename. littlefs' own file takes a block of memory, which is thirty times what a
client lends for a handle: those that were not used for long are closed meanwhile, once there are `MOST_AWAKE`, and
opened again when they are used; what was written to them is synced, if no other will do. A file that is removed or
replaced while it is open is stale: its blocks may be another's at once. What a power loss left half done is finished at
the mount: littlefs alone waits for the first write, and until then shows neither an entry that was on its way to
another directory nor some of its neighbours. A mount begins with a flush, unless `Heads` knows that there is nothing to
flush: a server that ended may have left writes that the medium shows and has not kept yet, and whatever is built on
them must not outlive them. After an error of the medium nothing is believed that littlefs has in memory: the volume
fails until it is mounted anew, which the next call tries, and files that were open are stale.

A file is known again by its name and its mark, an attribute that littlefs keeps with it: a number by chance, or none.
What takes a name that something had before is given a new mark: so who had opened the former one finds another. Names
that were given up are remembered for one life of the server, since marking each new file would cost each a commit more.
Times are not kept.
"""

from __future__ import annotations

import os
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from typing import Final, NoReturn, ParamSpec, TypeVar

from littlefs import lfs
from littlefs.errors import LittleFSError

from libsel4py.interfaces.file import (
    DeviceFailed,
    DirectoryNotEmpty,
    Entry,
    FileError,
    FileExists,
    IsDirectory,
    Kind,
    NameTooLong,
    NoSpace,
    NoSuchFile,
    NotDirectory,
    Origin,
    Space,
    Stat,
    TooManyOpen,
)
from libsel4py.littlefs.cache import BlockCache
from libsel4py.littlefs.format import Geometry, read_geometry
from libsel4py.littlefs.heads import Heads, NoHeads
from libsel4py.littlefs.open_file import READ, LittleFsFile
from libsel4py.littlefs.overlay import Overlay
from libsel4py.littlefs.store import BlockStore, StoreFailed

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

CACHE_BYTES: Final = 4 << 20
MOST_STATS: Final = 4096
MOST_FORMER: Final = 4096
MOST_AWAKE: Final = 256  # files that littlefs has open, as long as others can be closed
MOST_UNKEPT: Final = 1024  # the same, where what was written to them has no room on the disk
MOST_SYNCED: Final = 4  # of them that are tried, for one that is to be opened
MARK: Final = 0x73  # littlefs' number of the attribute
MARK_BYTES: Final = 8
NAME_BYTES: Final = 255
_ERRORS: Final[dict[int, tuple[type[FileError], str]]] = {
    -2: (NoSuchFile, "there is nothing of that name"),
    -17: (FileExists, "there is something of that name"),
    -20: (NotDirectory, "this, or what it is to be in, is no directory"),
    -21: (IsDirectory, "this is a directory"),
    -39: (DirectoryNotEmpty, "the directory is not empty"),
    -27: (NoSpace, "the file would be larger than littlefs has it"),
    -28: (NoSpace, "there is no space left"),
    -36: (NameTooLong, "a name has more bytes than this file system has room for"),
    -61: (NoSuchFile, "it has no such attribute"),
}
_CORRUPT: Final = -84
_READ_WRITE, _CREATE = (lfs.LFSFileFlag(flags) for flags in (3, 3 | 256))
_DIRECTORY: Final = 2  # littlefs' type of a directory


class LittleFsVolume:
    """The file system on a store.

    Args:
        cache_bytes: memory for blocks. heads: what a former life knew of the medium.
    Raises:
        NoFileSystem: there is none. StoreFailed: the medium fails. DeviceFailed: it cannot be mounted.
    """

    def __init__(self, store: BlockStore, cache_bytes: int = CACHE_BYTES, heads: Heads | None = None) -> None:
        self._store = store
        # An overlay's writes never are on the medium.
        self._heads = NoHeads() if heads is None or store.read_only else heads
        self._cache_bytes = cache_bytes
        self._files: dict[str, LittleFsFile] = {}
        self._awake: OrderedDict[LittleFsFile, None] = OrderedDict()  # what littlefs has open, used last at the end
        self._stats: dict[str, Stat] = {}
        self._marks: dict[str, int] = {}
        self._former: set[str] = set()  # names that were given up
        self._was_corrupt = False  # in this mount
        self._let_go: Callable[[], object] = lambda: None
        self._begin()

    @property
    def read_only(self) -> bool:
        return self._store.read_only

    @property
    def most_bytes(self) -> int:
        """No file has more."""
        return self._geometry.blocks * self._geometry.block_bytes

    def stat(self, path: str, /) -> Stat:
        known = self._stats.get(path)
        if known is None:
            try:
                found = self.call(lfs.stat, path or "/")
            except NotDirectory:
                raise NoSuchFile(f"{path}: something on the way is a file") from None
            is_directory = found.type == _DIRECTORY
            known = Stat(Kind.DIRECTORY if is_directory else Kind.FILE, 0 if is_directory else found.size)
            self._remember(path, known)
        return known

    def _remember(self, path: str, stat: Stat) -> None:
        if len(self._stats) >= MOST_STATS:
            self._stats.clear()
        self._stats[path] = stat

    def list(self, path: str, /) -> Iterator[Entry]:
        directory = self.call(lfs.dir_open, path or "/")
        found: list[Entry] = []
        try:
            while (each := self.call(lfs.dir_read, directory)) is not None:
                if each.name not in (".", ".."):
                    kind = Kind.DIRECTORY if each.type == _DIRECTORY else Kind.FILE
                    found.append(Entry(each.name, kind, 0 if kind is Kind.DIRECTORY else each.size))
        finally:
            self.call(lfs.dir_close, directory)
        return iter(found)

    def open(self, path: str, /, *, create: bool, exclusive: bool) -> LittleFsFile:
        known = self._known(path)
        if known is None and not create:
            raise NoSuchFile(f"there is no {path}")
        if known is not None and exclusive:
            raise FileExists(f"{path} exists")
        if known is not None and known.kind is Kind.DIRECTORY:
            raise IsDirectory(f"{path} is a directory")
        self._have_room()
        handle = self._open(path, create=known is None)
        file = LittleFsFile(self, path, handle, 0 if known is None else known.size)
        self._files[path] = file
        self._awake[file] = None
        if known is None:
            self._stats.pop(path, None)
            self._has_name(path)
        return file

    def make_directory(self, path: str, /) -> None:
        self.call(lfs.mkdir, path)
        self._stats.clear()
        self._has_name(path)

    def remove(self, path: str, /) -> None:
        self._stats.clear()
        self._end(path)
        self.call(lfs.remove, path)
        self._gives_up(path)

    def identity(self, path: str, /) -> int:
        """The marks of a file and of the directories above it."""
        found, end = 0, len(path)
        while end > 0:
            found ^= self._mark(path[:end])
            end = path.rfind("/", 0, end)
        return found

    def rename(self, old: str, new: str, /) -> None:
        self._ensure_replaceable(old, new)
        moved = {path: file for path, file in self._files.items() if path == old or path.startswith(old + "/")}
        for file in moved.values():
            file.sync()  # what cannot be kept is said while all is as it was
        if self._kind(new) is not None or self._was_there(new):
            self._set_mark(old)
        self._stats.clear()
        self._marks.clear()
        self._end(new)
        awake = {path: file for path, file in moved.items() if file in self._awake}
        for file in awake.values():
            file.rest()
        try:
            self.call(lfs.rename, old, new)
        except FileError:
            for path, file in awake.items():
                file.wake(self._open(path), path)
            raise
        self._gives_up(old)
        for path in moved:
            del self._files[path]
        for path, file in moved.items():
            name = new + path[len(old) :]
            self._files[name] = file
            if file in self._awake:
                file.wake(self._open(name), name)
            else:
                file.moved(name)

    def space(self) -> Space:
        used = self.call(lfs.fs_size)
        return Space(self._geometry.block_bytes, self._geometry.blocks, self._geometry.blocks - used, NAME_BYTES)

    def sync(self) -> None:
        failed: NoSpace | None = None
        for file in list(self._files.values()):
            try:
                file.sync()
            except NoSpace as error:  # that is one client's; the others' files are none the worse for it
                failed = failed or error
        if failed is not None:
            raise failed

    def close(self) -> None:
        """Close all files, and let go of the store. Raises as `sync`."""
        for file in list(self._files.values()):
            file.close()
        self._let_go()

    # --- what files use ------------------------------------------------------------------------------------

    def call(self, function: Callable[..., Result], *arguments: object) -> Result:
        """One of littlefs' functions. Raises what it means, and DeviceFailed where the medium fails."""
        if self._cache.error is not None:
            self._mount()
        cache = self._cache
        try:
            result = function(self._system, *arguments)
        except LittleFSError as error:
            cache.settle()
            if cache.error is not None:
                self._failed(cache.error)
            if error.code == _CORRUPT and not self._was_corrupt:  # what is there from now on comes from the medium
                self._was_corrupt = True
                self._heads.clear()
            raise _meaning(error, arguments) from error
        if cache.epochs:
            cache.settle()
        if cache.error is not None:
            self._failed(cache.error)
        return result

    def passes(self, passing: bool) -> None:
        """Whether what is read from now on is not wanted again."""
        self._cache.passing = passing

    def uses(self, file: LittleFsFile, path: str) -> None:
        """A file is about to be used: littlefs has it open. Raises as `_have_room`, and as opening it does."""
        if file in self._awake:
            self._awake.move_to_end(file)
            return
        self._have_room()
        file.wake(self._open(path), path)
        self._awake[file] = None

    def _have_room(self) -> None:
        """For one more file that littlefs has open. Raises TooManyOpen: none of so many can be synced."""
        if len(self._awake) < MOST_AWAKE:
            return
        dirty = (file for file in self._awake if file.is_changed)
        clean = next((file for file in self._awake if not file.is_changed), None)
        for file in [clean] if clean is not None else list(islice(dirty, MOST_SYNCED)):
            try:
                file.sleep()
            except NoSpace:
                continue
            del self._awake[file]
            return
        if len(self._awake) >= MOST_UNKEPT:
            raise TooManyOpen(f"{MOST_UNKEPT} open files have something that there is no room for")

    def changes(self, path: str) -> None:
        """A file has another size from now on."""
        self._stats.pop(path, None)

    def closed(self, path: str, file: LittleFsFile, size: int | None) -> None:
        """A file is open no more, and has so many bytes; None: that is not known."""
        self._stats.pop(path, None)
        self._awake.pop(file, None)
        if self._files.get(path) is file:
            del self._files[path]
            if size is not None:
                self._remember(path, Stat(Kind.FILE, size))

    # --- marks ---------------------------------------------------------------------------------------------

    def _mark(self, path: str) -> int:
        known = self._marks.get(path)
        if known is None:
            try:
                known = int.from_bytes(self.call(lfs.getattr, path, MARK)[:MARK_BYTES], "little")
            except NoSuchFile:
                known = 0
            if len(self._marks) >= MOST_STATS:
                self._marks.clear()
            self._marks[path] = known
        return known

    def _set_mark(self, path: str) -> None:
        mark = os.urandom(MARK_BYTES)
        self.call(lfs.setattr, path, MARK, mark)
        self._marks[path] = int.from_bytes(mark, "little")

    def _gives_up(self, path: str) -> None:
        """Nothing has this name from now on."""
        self._marks.pop(path, None)
        if len(self._former) < MOST_FORMER:
            self._former.add(path)

    def _was_there(self, path: str) -> bool:
        """Whether a name was given up in this life, or may have been."""
        if len(self._former) >= MOST_FORMER:
            return True
        end = len(path)
        while self._former and end > 0:
            if path[:end] in self._former:
                return True
            end = path.rfind("/", 0, end)
        return False

    def _has_name(self, path: str) -> None:
        """Something new has this name. Raises NoSpace: and nothing has it, since it could be taken for the former."""
        if not self._was_there(path):
            self._marks[path] = 0
            return
        try:
            self._set_mark(path)
        except NoSpace:
            self.remove(path)
            raise

    # --- inside --------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Mount; what fails with what a former life knew is tried by what the medium says alone."""
        heads = self._heads
        if heads.geometry is not None:
            self._has_geometry(Geometry(*heads.geometry))
            try:
                self._mount()
            except DeviceFailed:
                heads.end()
            else:
                return
        self._has_geometry(read_geometry(self._store))
        heads.begin(self._geometry.block_bytes, self._geometry.blocks)
        self._mount()

    def _has_geometry(self, geometry: Geometry) -> None:
        self._geometry = geometry
        self.origin = Origin(geometry.blocks * geometry.block_bytes, survives=True)

    def _mount(self) -> None:
        self._let_go()
        store = Overlay(self._store) if self.read_only else self._store
        self._cache = BlockCache(store, self._geometry.block_bytes, self._cache_bytes, self._heads)
        self._system = lfs.LFSFilesystem()
        self._configuration = self._geometry.configuration(self._cache)  # littlefs keeps no reference of its own
        self._stats.clear()
        self._was_corrupt = False
        try:
            if not self._heads.is_flushed:
                self._heads.flushes()
                store.flush()
                self._heads.flushed()
            lfs.mount(self._system, self._configuration)
            self._let_go = released = weakref.finalize(self, _unmount, self._system, self._configuration)
            released.atexit = False
            lfs.fs_mkconsistent(self._system)
            self._cache.settle()
        except StoreFailed as error:
            self._cache.error = error
            self._heads.clear()
            raise DeviceFailed(str(error)) from error
        except LittleFSError as error:
            self._heads.clear()
            reason = self._cache.error or error
            self._cache.error = self._cache.error or StoreFailed(f"littlefs: {error}")
            raise DeviceFailed(f"the file system cannot be mounted: {reason}") from error

    def _failed(self, error: StoreFailed) -> NoReturn:
        for file in self._files.values():
            file.end(lost=True)
        self._files.clear()
        self._awake.clear()
        self._marks.clear()
        self._stats.clear()
        raise DeviceFailed(str(error))

    def _known(self, path: str) -> Stat | None:
        try:
            return self.stat(path)
        except NoSuchFile:
            return None

    def _kind(self, path: str) -> Kind | None:
        known = self._known(path)
        return None if known is None else known.kind

    def _open(self, path: str, create: bool = False) -> lfs.LFSFile:
        if self.read_only:
            return self.call(lfs.file_open, path, READ)
        if not create:
            return self.call(lfs.file_open, path, _READ_WRITE)
        try:
            return self.call(lfs.file_open, path, _CREATE)
        except NameTooLong as error:  # which is what littlefs says where the directory's blocks are full, too
            if len(path.rpartition("/")[2].encode()) > self.call(lfs.fs_stat).name_max:
                raise
            raise NoSpace(f"{path}: there is no space left for a name") from error

    def _end(self, path: str) -> None:
        """An open file of this name is stale from now on. What was written to it need not fit any more."""
        file = self._files.pop(path, None)
        if file is not None:
            with suppress(NoSpace):
                file.rest()
            file.end()
            self._awake.pop(file, None)

    def _ensure_replaceable(self, old: str, new: str) -> None:
        """littlefs replaces what it finds; which errors that has, is said here, before an open file is touched."""
        source, target = self.stat(old).kind, self._kind(new)
        if target is None or source is target:
            if target is Kind.DIRECTORY and next(self.list(new), None) is not None:
                raise DirectoryNotEmpty(f"{new} is not empty")
            return
        raise IsDirectory(f"{new} is a directory") if target is Kind.DIRECTORY else NotDirectory(f"{new} is a file")


def _unmount(system: lfs.LFSFilesystem, configuration: lfs.LFSConfig) -> None:
    """Give back what littlefs keeps of a mount; a volume that is dropped has no other end. Nothing is written."""
    lfs.unmount(system)


def _meaning(error: LittleFSError, arguments: tuple[object, ...]) -> FileError:
    kind, text = _ERRORS.get(error.code, (DeviceFailed, str(error)))
    path = next((each for each in arguments if isinstance(each, str)), "a file")
    return kind(f"{path}: {text}")
