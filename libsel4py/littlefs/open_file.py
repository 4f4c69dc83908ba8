"""A file of a littlefs that is open, as a `libsel4py.filesystem.OpenFile`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NoReturn, TypeVar

from littlefs import lfs

from libsel4py.interfaces.file import FileError, NoSpace, NotPermitted, StaleHandle, Unfinished

if TYPE_CHECKING:
    from libsel4py.littlefs.volume import LittleFsVolume

Result = TypeVar("Result")
MOST_GAP_BYTES: Final = 8 << 20  # that are filled at a time: it takes a tenth of a second
MOST_FILE_BYTES: Final = (1 << 31) - 1
LEAST_TAIL_BYTES: Final = 16 << 10  # that are worth opening the file once more
TAIL_PIECE_BYTES: Final = 64 << 10
LONG_TAIL_BYTES: Final = 8 << 20  # littlefs copies them in a sixth of a second, this module in a thirtieth
READ: Final = lfs.LFSFileFlag(1)  # littlefs' number of "to read alone"


class LittleFsFile:
    """An open file (`libsel4py.filesystem.OpenFile`), open once, so that its size is what was done here.

    littlefs writes what was written and all of the file behind it to new blocks, once something else than the next
    write comes; what lies behind it littlefs copies byte by byte. So it is written here before that, in large pieces,
    as long as the directory names what was there before. No sync comes of it: a loss of power leaves the old file.
    Where it does not, and much lies behind, what was written before is synced first, so that it does again.

    Where littlefs has no room for what was written (it finds out when it writes, seeks, reads or syncs) it gives the
    file up, and closing it would keep nothing of that, in silence: so it is synced first, whoever was told before.
    """

    def __init__(self, volume: LittleFsVolume, path: str, handle: lfs.LFSFile, size: int) -> None:
        self._volume = volume
        self._path = path
        self._handle: lfs.LFSFile | None = handle
        self._size = size
        self._at = 0
        self._changed = False
        self._is_writing = False  # littlefs has something of the last write to put behind
        self._is_as_named = True  # but for that, the file is what its directory names
        self._is_given_up = False  # by littlefs, with what was written to it since it was synced last
        self._is_over = False
        self._lost = False

    def read(self, offset: int, length: int, /) -> bytes:
        if offset >= self.size():
            return b""
        self._use()
        self._seek(offset)
        self._carry_over()
        data = self._call(lfs.file_read, self._open, length)
        self._at = offset + len(data)
        return data

    def write(self, offset: int, data: bytes, /) -> None:
        self._use()
        self._touch()
        self._ensure_possible(offset + len(data))
        try:
            if offset > self._size:
                self._lengthen(offset)
            self._seek(offset)
            self._have_named(offset + len(data))
            self._is_writing = True
            self._call(lfs.file_write, self._open, data)
        except FileError:
            self._at, self._is_as_named = -1, False  # a part may be written
            self._look_up_size()
            raise
        self._at = end = offset + len(data)
        if end > self._size:
            self._size = end

    def size(self) -> int:
        if self._is_over:
            return self._stale()
        return self._size

    def truncate(self, size: int, /) -> None:
        self._use()
        self._touch()
        self._ensure_possible(size)
        try:
            if size > self._size:
                self._lengthen(size)
            else:
                self._cut(size)
        except FileError:
            self._at = -1  # littlefs' own place is anywhere
            self._look_up_size()
            raise
        self._size = size

    def sync(self) -> None:
        if self._changed:
            self._carry_over()
            self._call(lfs.file_sync, self._open)
            self._changed, self._is_as_named, self._is_given_up = False, True, False

    def close(self) -> None:
        if self._is_over:
            if self._lost:
                raise StaleHandle(f"{self._path}: the medium failed, and what was not synced is lost")
            return
        size = None
        try:
            self.rest()
            size = self._size
        finally:
            self._volume.closed(self._path, self, size)

    # --- the volume's side ---------------------------------------------------------------------------------

    def rest(self) -> None:
        """Closed, for the length of a rename or for good. Raises NoSpace: what was not synced is lost."""
        try:
            self._carry_over()
            if self._is_given_up:
                self.sync()
        finally:
            handle, self._handle = self._handle, None
            if handle is not None:
                self._volume.call(lfs.file_close, handle)

    @property
    def is_changed(self) -> bool:
        """Whether something was written since it was synced last."""
        return self._changed

    def sleep(self) -> None:
        """Closed until it is used again. Raises NoSpace: it is open as it was."""
        self.sync()
        self.rest()

    def moved(self, path: str) -> None:
        """While it sleeps its name has changed."""
        self._path = path

    def wake(self, handle: lfs.LFSFile, path: str) -> None:
        """Open again, under this name."""
        self._handle, self._path, self._at, self._changed = handle, path, 0, False
        self._is_writing, self._is_as_named, self._is_given_up = False, True, False
        self._look_up_size()

    def end(self, lost: bool = False) -> None:
        """Stale from now on. Of a handle that littlefs was not asked to close, nothing is used any more.

        ``lost``: what was not synced is gone with it, though the file has a name.
        """
        self._handle, self._is_over = None, True
        self._lost = lost and self._changed

    # --- inside --------------------------------------------------------------------------------------------

    def _use(self) -> None:
        """Have littlefs' own file open. Raises as `LittleFsVolume.uses`."""
        if self._is_over:
            self._stale()
        self._volume.uses(self, self._path)

    @property
    def _open(self) -> lfs.LFSFile:
        return self._stale() if self._handle is None else self._handle

    def _call(self, function: Callable[..., Result], *arguments: object) -> Result:
        """One of littlefs' functions on this file; after one that finds no room littlefs has given it up."""
        try:
            return self._volume.call(function, *arguments)
        except NoSpace:
            self._is_given_up = True
            raise

    def _stale(self) -> NoReturn:
        raise StaleHandle(f"{self._path} was removed, or replaced, or its medium failed")

    def _look_up_size(self) -> None:
        if self._handle is not None:
            self._size = self._volume.call(lfs.file_size, self._handle)

    def _seek(self, offset: int) -> None:
        if offset != self._at:
            self._carry_over()
            self._call(lfs.file_seek, self._open, offset, 0)
            self._at = offset

    def _have_named(self, end: int) -> None:
        """Before something is written up to here: long before the file's end only where its directory names it."""
        if not self._is_writing and not self._is_as_named and self._size - end >= LONG_TAIL_BYTES:
            self._call(lfs.file_sync, self._open)
            self._is_as_named, self._is_given_up = True, False

    def _lengthen(self, size: int) -> None:
        """By zeroes, which littlefs writes. Raises Unfinished: by as many as can be written while others wait."""
        step = min(size, self._size + MOST_GAP_BYTES)
        self._cut(step)
        self._size = step
        if step < size:
            raise Unfinished(f"{self._path} has {step} bytes now: ask again for the rest of the {size}")

    def _cut(self, size: int) -> None:
        self._carry_over()
        self._is_as_named = False
        self._call(lfs.file_truncate, self._open, size)

    def _carry_over(self) -> None:
        """Something else than the next write comes: write what lies behind the last one."""
        if not self._is_writing:
            return
        self._is_writing = False
        was_as_named, self._is_as_named = self._is_as_named, False
        if was_as_named and self._size - self._at >= LEAST_TAIL_BYTES:
            self._write_tail(self._volume.call(lfs.file_open, self._path, READ))

    def _write_tail(self, former: lfs.LFSFile) -> None:
        call = self._volume.call
        self._volume.passes(True)  # or the old file, which is about to end, would displace the new one
        try:
            call(lfs.file_seek, former, self._at, 0)
            while data := call(lfs.file_read, former, TAIL_PIECE_BYTES):
                self._call(lfs.file_write, self._open, data)
                self._at += len(data)
        finally:
            self._volume.passes(False)
            if self._handle is not None:  # or the medium failed, and `former` is of no mount any more
                call(lfs.file_close, former)

    def _ensure_possible(self, size: int) -> None:
        most = min(MOST_FILE_BYTES, self._volume.most_bytes)
        if size > most:
            raise NoSpace(f"a file of {size} bytes; here is room for {most}")

    def _touch(self) -> None:
        if self._volume.read_only:
            raise NotPermitted("this file system is read-only")
        self._volume.changes(self._path)
        self._changed = True
