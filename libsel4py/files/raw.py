"""An open file as Python's `io` has it: raw, so each read and write is a request.

`Files.open` puts `io`'s own buffers and text layers above it. Bytes go by the session's buffer, whatever their number.
"""

from __future__ import annotations

import io
import os
import time
from typing import TYPE_CHECKING, Final

from libsel4py.capabilities import Endpoint
from libsel4py.errors import KernelError, RemoteError, ServerDied, ServiceError, Timeout
from libsel4py.files.errors import FAILURES, as_os_errors, os_error
from libsel4py.files.mount import Mount
from libsel4py.interface import with_timeout
from libsel4py.interfaces.file import AT_END, File, OpenFlags
from libsel4py.lowlevel.collecting import is_collecting
from libsel4py.task import Task

if TYPE_CHECKING:
    from typing_extensions import Buffer

LOCK_SECONDS: Final = 1.0  # of one wait; the server looks for locks of the dead when it is asked again


class RawFile(io.RawIOBase):
    """An open file. Made by `Files.open`.

    Attributes:
        name: its path.
    """

    def __init__(self, mount: Mount, task: Task, path: str, flags: OpenFlags) -> None:
        self._open = False
        try:
            self._number, size = mount.directory.open_number(path, int(flags))
        except FAILURES as error:
            raise os_error(error, path) from error
        self._open = True
        self._mount = mount
        self._task = task
        self._flags = flags
        self._reads, self._writes, self._appends = _MEANING[flags]
        self._position = size if self._appends else 0
        self._file: Endpoint | None = None
        self.name = path

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

    def _ensure(self, can: bool, what: str) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file.")
        if not can:
            raise io.UnsupportedOperation(f"not {what}")

    # --- bytes

    def readinto(self, buffer: Buffer, /) -> int:
        """Up to the length of ``buffer``; returns how many. Raises OSError."""
        self._ensure(self._reads, "readable")
        with memoryview(buffer).cast("B") as target:
            count = self._read(target)
        self._position += count
        return count

    def _read(self, target: memoryview) -> int:
        mount, done = self._mount, 0
        with mount.lock:
            most = len(mount.buffer)
            while done < len(target):
                wanted = min(most, len(target) - done)
                try:
                    count = mount.directory.read_number(self._number, self._position + done, wanted, 0)
                except FAILURES as error:
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
        """All of it; returns how many bytes. Raises OSError."""
        self._ensure(self._writes, "writable")
        if is_collecting():  # a buffered file was forgotten with bytes in it
            kept = bytes(data)
            self._mount.leftovers.leave(lambda: self._write(kept))
            return len(kept)
        return self._write(data)

    def _write(self, data: Buffer) -> int:
        mount, done = self._mount, 0
        with memoryview(data).cast("B") as source, mount.lock:
            most = len(mount.buffer)
            while done < len(source):
                count = min(most, len(source) - done)
                mount.buffer[:count] = source[done : done + count]
                offset = AT_END if self._appends else self._position + done
                try:
                    mount.directory.write_number(self._number, offset, count, 0)
                except FAILURES as error:
                    raise os_error(error, self.name) from error
                done += count
        self._position = self._size() if self._appends else self._position + done
        return done

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        self._ensure(True, "")
        match whence:
            case os.SEEK_SET:
                place = offset
            case os.SEEK_CUR:
                place = self._position + offset
            case os.SEEK_END:
                place = self._size() + offset
            case _:
                raise ValueError(f"invalid whence value {whence}")
        if place < 0:
            raise ValueError(f"negative seek position {place}")
        self._position = place
        return place

    def tell(self) -> int:
        self._ensure(True, "")
        return self._position

    def truncate(self, size: int | None = None, /) -> int:
        """Cut or lengthen it; at the position by default. The position stays."""
        self._ensure(self._writes, "writable")
        size = self._position if size is None else size
        with as_os_errors(self.name):
            self._mount.directory.truncate_number(self._number, size)
        return size

    def _size(self) -> int:
        with as_os_errors(self.name):
            return self._mount.directory.size_number(self._number)

    def sync(self) -> None:
        """What was written is on the medium when this returns (`Files.fsync` flushes buffers first)."""
        self._ensure(True, "")
        try:
            self._mount.directory.sync_number(self._number)
        except FAILURES as error:
            raise os_error(error, self.name) from error

    def close(self) -> None:
        """End it. Raises OSError: what was written could not be kept. It is closed all the same."""
        if self._open and not self.closed:
            self._open = False
            if is_collecting():
                self._mount.leftovers.leave(self._end)
                super().close()
                return
            try:
                self._mount.leftovers.settle()
                self._end()
            except FAILURES as error:
                raise os_error(error, self.name) from error
            finally:
                super().close()
        else:
            super().close()

    def _end(self) -> None:
        if self._file is not None:
            self._task.delete(self._file)
        self._mount.directory.close_number(self._number)

    def __del__(self) -> None:
        """As `close`, of a file that its program has forgotten; there is nobody to tell what goes wrong."""
        try:
            self.close()
        except (OSError, ServiceError, KernelError, RemoteError, ServerDied):
            self._open = False

    # --- its lock

    def lock(self, *, exclusive: bool = True, timeout: float | None = None) -> None:
        """Wait for the file's lock (`File.lock`). Raises TimeoutError: not in ``timeout`` seconds. OSError."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            left = LOCK_SECONDS if deadline is None else min(LOCK_SECONDS, deadline - time.monotonic())
            if left <= 0:
                if self.try_lock(exclusive=exclusive):
                    return
                self.unlock()
                raise Timeout(f"the lock of {self.name!r} was not to be had in {timeout} s")
            try:
                with as_os_errors(self.name):
                    with_timeout(self._stub(), left).lock(exclusive)
            except Timeout:
                continue
            return

    def try_lock(self, *, exclusive: bool = True) -> bool:
        """The same without waiting."""
        with as_os_errors(self.name):
            return self._stub().try_lock(exclusive)

    def unlock(self) -> None:
        """Give the lock up."""
        with as_os_errors(self.name):
            self._stub().unlock()

    def capability(self) -> Endpoint:
        """The `File` capability, to hand on; deleted when the file is closed, and of no use to anybody then."""
        self._ensure(True, "")
        if self._file is None:
            with as_os_errors(self.name):
                self._file = self._mount.directory.file(self._number)
        return self._file

    def _stub(self) -> File:
        return File(self.capability())


_MEANING: Final = {  # whether such a file reads, writes and appends
    flags: tuple(bool(flags & each) for each in (OpenFlags.READ, OpenFlags.WRITE, OpenFlags.APPEND))
    for flags in map(OpenFlags, range(64))
}


def _mode(flags: OpenFlags) -> str:
    letter = "ab" if flags & OpenFlags.APPEND else "wb" if flags & OpenFlags.TRUNCATE else "rb"
    if flags & OpenFlags.EXCLUSIVE:
        letter = "xb"
    both = flags & OpenFlags.READ and flags & OpenFlags.WRITE
    return f"{letter}+" if both else letter
