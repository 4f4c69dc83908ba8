"""An open file as Python's `io` has it: raw, so each read and write is a request.

`Files.open` puts `io`'s own buffers and text layers above it. Bytes go by the session's buffer, whatever their number.
A file outlives its server (`files.handle`).
"""

from __future__ import annotations

import errno
import io
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeVar

from libsel4py.capabilities import Endpoint
from libsel4py.errors import KernelError, RemoteError, ServerDied, ServiceError, Timeout
from libsel4py.files.errors import LOST, os_error
from libsel4py.files.handle import Handle
from libsel4py.files.mount import Mount
from libsel4py.interface import with_timeout
from libsel4py.interfaces.file import File, FileError, OpenFlags, StaleHandle
from libsel4py.lowlevel.collecting import is_collecting
from libsel4py.task import Task

if TYPE_CHECKING:
    from typing_extensions import Buffer


MOST_PLACE: Final = (1 << 63) - 1  # Linux' off_t
Result = TypeVar("Result")


class RawFile(io.RawIOBase):
    """An open file. Made by `Files.open`.

    Attributes:
        name: its path, as it was asked for (which may lead through a namespace to ``path`` below ``mount``).

    ``below``: that `io`'s buffers stand above it, which keep what was not written: then a write of which a part fits is
    that part, and they do not write it once more when there is room again.
    """

    def __init__(
        self, mount: Mount, task: Task, path: str, flags: OpenFlags, name: str = "", *, below: bool = False
    ) -> None:
        self._handle: Handle | None = None
        self._handle = handle = Handle(mount, task, path, flags, name)
        self._mount = mount
        self._flags = flags
        self._reads, self._writes, self._appends = _MEANING[flags]
        self._position = handle.size if self._appends else 0
        self._is_below = below
        self.name = handle.name

    @property
    def mode(self) -> str:
        """As `io.FileIO` says it."""
        return _mode(self._flags)

    # --- what it can do

    def readable(self) -> bool:
        return self._reads

    def writable(self) -> bool:
        return self._writes

    def seekable(self) -> bool:
        return True

    def _ensure(self, can: bool, what: str) -> Handle:
        handle = self._handle
        if self.closed or handle is None:
            raise ValueError("I/O operation on closed file.")
        if not can:
            raise io.UnsupportedOperation(f"not {what}")
        if self._mount.is_closed:
            raise os_error(StaleHandle("its files were closed"), self.name)
        handle.ensure_lock()
        return handle

    # --- bytes

    def readinto(self, buffer: Buffer, /) -> int:
        """Up to the length of ``buffer``; returns how many. Raises OSError."""
        self._ensure(self._reads, "readable")
        with memoryview(buffer).cast("B") as target:
            count = self._read(target)
        self._position += count
        return count

    def _read(self, target: memoryview) -> int:
        mount, handle, done = self._mount, self._opened, 0
        with mount.lock:
            most = len(mount.buffer)
            while done < len(target):
                wanted = min(most, len(target) - done)
                try:
                    count = mount.directory.read_number(handle.number, self._position + done, wanted, 0)
                except LOST:
                    place = self._position + done
                    count = handle.ask(lambda: mount.directory.read_number(handle.number, place, wanted, 0))  # noqa: B023
                except FileError as error:
                    raise os_error(error, self.name) from error
                target[done : done + count] = mount.buffer[:count]
                done += count
                if count < wanted:
                    break
        return done

    def readall(self) -> bytes:
        """All from here to the end."""
        self._ensure(self._reads, "readable")
        data = bytearray(max(0, self._size() - self._position) + 1)  # one more, so that the end is seen
        while True:
            with memoryview(data) as view:
                count = self._read(view)
            self._position += count
            if count < len(data):
                return bytes(memoryview(data)[:count])
            rest = self.readall()  # it grew meanwhile
            return bytes(data) + rest

    def write(self, data: Buffer, /) -> int:
        """All of it; returns how many bytes. Raises OSError: a part may be written, and `tell` says where it ends."""
        self._ensure(self._writes, "writable")
        if is_collecting():  # a buffered file was forgotten with bytes in it
            kept = bytes(data)
            self._mount.leftovers.leave(lambda: self._write(kept))
            return len(kept)
        return self._write(data)

    def _write(self, data: Buffer) -> int:
        mount, handle, done = self._mount, self._opened, 0
        with memoryview(data).cast("B") as source, mount.lock:
            most = len(mount.buffer)
            while done < len(source):
                piece = source[done : done + most]
                try:
                    place = handle.put(piece, self._position)
                except OSError:
                    if done and self._is_below:
                        break  # the rest is written next, and raises it
                    raise
                done += len(piece)
                self._position = place + len(piece)
        return done

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """As `io.FileIO`. Raises OSError (EINVAL): before the beginning, or ``whence`` is none; OverflowError."""
        self._ensure(True, "")
        match whence:
            case os.SEEK_SET:
                place = offset
            case os.SEEK_CUR:
                place = self._position + offset
            case os.SEEK_END:
                place = self._size() + offset
            case _:
                raise OSError(errno.EINVAL, f"{os.strerror(errno.EINVAL)}: whence is {whence}", self.name)
        self._position = self._place(place)
        return place

    def _place(self, place: int) -> int:
        """A place in a file, or a size. Raises OSError, OverflowError."""
        if place < 0:
            raise OSError(errno.EINVAL, f"{os.strerror(errno.EINVAL)}: {place} is before the beginning", self.name)
        if place > MOST_PLACE:
            raise OverflowError(f"{place} is behind {MOST_PLACE}, the last place that a file can have")
        return place

    def tell(self) -> int:
        self._ensure(True, "")
        return self._position

    def truncate(self, size: int | None = None, /) -> int:
        """Cut or lengthen it; at the position by default. The position stays. Raises as `seek`."""
        self._ensure(self._writes, "writable")
        size = self._position if size is None else self._place(size)
        self._opened.truncate(size)
        return size

    def _size(self) -> int:
        handle = self._opened
        return handle.ask(lambda: self._mount.directory.size_number(handle.number))

    def sync(self) -> None:
        """What was written is on the medium when this returns (`Files.fsync` flushes buffers first)."""
        self._ensure(True, "").sync()

    # --- its end

    def close(self) -> None:
        """End it. Raises OSError: what was written could not be kept. It is closed all the same."""
        handle = self._handle
        if handle is None or self.closed or not handle.is_open:
            super().close()
            return
        handle.is_open = False
        if is_collecting():
            self._mount.leftovers.leave(handle.end)
            super().close()
            return
        try:
            self._mount.leftovers.settle()
            handle.end()
        finally:
            super().close()

    def __del__(self) -> None:
        """As `close`, of a file that its program has forgotten; there is nobody to tell what goes wrong."""
        try:
            self.close()
        except (OSError, ServiceError, KernelError, RemoteError, ServerDied):
            return

    # --- its lock

    def lock(self, *, exclusive: bool = True, timeout: float | None = None) -> None:
        """Wait for the file's lock (`File.lock`). Raises TimeoutError: not in ``timeout`` seconds. OSError."""
        deadline = None if timeout is None else time.monotonic() + timeout

        def wait(file: File) -> bool:
            if deadline is not None:
                file = with_timeout(file, max(0.0, deadline - time.monotonic()))
            file.lock(exclusive)
            return True

        try:
            self._opened.lock(wait, exclusive)
        except Timeout:
            if not self.try_lock(exclusive=exclusive):
                self.unlock()
                raise Timeout(f"the lock of {self.name!r} was not to be had in {timeout} s") from None

    def try_lock(self, *, exclusive: bool = True) -> bool:
        """The same without waiting."""
        return self._opened.lock(lambda file: file.try_lock(exclusive), exclusive)

    def unlock(self) -> None:
        """Give the lock up. What was written is synced first: the next holder's writes are not to be overwritten."""
        self._opened.unlock()

    def capability(self) -> Endpoint:
        """The `File` capability, to hand on; deleted when the file is closed, and of no use to anybody then."""
        return self._ensure(True, "").capability()

    def hand_over(self, act: Callable[[Endpoint], Result]) -> Result:
        """Do it with the `File` capability, and again with another one if its server was started again meanwhile."""
        handle = self._ensure(True, "")
        return handle.ask(lambda: act(handle.capability()))

    @property
    def _opened(self) -> Handle:
        """The file at its server. Raises ValueError: it is closed."""
        if self.closed or self._handle is None:
            raise ValueError("I/O operation on closed file.")
        return self._handle


_MEANING: Final = {  # whether such a file reads, writes and appends
    flags: tuple(bool(flags & each) for each in (OpenFlags.READ, OpenFlags.WRITE, OpenFlags.APPEND))
    for flags in map(OpenFlags, range(64))
}


def _mode(flags: OpenFlags) -> str:
    reads, writes = flags & OpenFlags.READ, flags & OpenFlags.WRITE
    letter = "rb" if reads else "wb"
    if flags & (OpenFlags.APPEND | OpenFlags.EXCLUSIVE):
        letter = "ab" if flags & OpenFlags.APPEND else "xb"
    return f"{letter}+" if reads and writes else letter
