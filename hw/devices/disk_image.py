"""A disk's bytes: a file of the host, sparse where nothing was written.

Whoever starts a system opens the file and locks it (`open_image`); the kernel gets the descriptor and no path. A second
system that names the same image is refused while the first one runs.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from array import array
from pathlib import Path
from typing import Final

from hw.devices.image_thread import ImageThread
from hw.iommu import Buffer

SECTOR_BYTES: Final = 512
_NOT_KNOWN: Final = (errno.EOPNOTSUPP, errno.EINVAL)  # what file systems say that do not have the flag
_RWF_NOWAIT: Final = getattr(os, "RWF_NOWAIT", 0)


class ImageError(Exception):
    """The image cannot be used; the text says why and what would work."""


def open_image(path: Path, size: int | None, read_only: bool) -> int:
    """A descriptor of an image, locked; made if it does not exist and ``size`` (bytes, whole sectors) is given.

    Raises:
        ImageError: it cannot be opened or made, is in use, or its size is none.
    """
    # Without O_NONBLOCK a pipe is waited for, before it can be refused.
    flags = (
        os.O_CLOEXEC | os.O_NONBLOCK | (os.O_RDONLY if read_only else os.O_RDWR | (0 if size is None else os.O_CREAT))
    )
    try:
        descriptor = os.open(path, flags, 0o666)
    except OSError as error:
        hint = "" if size is not None else '; give it a size, such as size = "64M", and it is made'
        raise ImageError(f"the disk image {path} cannot be opened: {error.strerror}{hint}") from None
    try:
        _lock(descriptor, path, read_only)
        _check_size(descriptor, path, size, read_only)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _lock(descriptor: int, path: Path, read_only: bool) -> None:
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if read_only else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ImageError(f"the disk image {path} is in use by another system or command; end that first") from None


def _check_size(descriptor: int, path: Path, size: int | None, read_only: bool) -> None:
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise ImageError(f"the disk image {path} is no regular file; name one, or a path where one can be made")
    found = status.st_size
    if not found and size is not None and not read_only:
        try:
            os.ftruncate(descriptor, size)
        except (OSError, OverflowError) as error:
            why = error.strerror if isinstance(error, OSError) else "File too large"
            raise ImageError(f"the disk image {path} cannot have {size} bytes: {why}") from None
        found = size
    if not found or found % SECTOR_BYTES:
        raise ImageError(f"the disk image {path} has {found} bytes; an image has one or more sectors of {SECTOR_BYTES}")


class DiskImage:
    """An open image, as `hw.devices.medium.Medium`. The descriptor stays the caller's.

    Args:
        attention: a word that is set to 1 whenever the worker's bell was rung, for who polls and looks at no bell.
        witness: another opening of the image, older than a kernel that was killed. The host tells each opening once of
            what it has lost: what it may have told that kernel, and nobody else, the first flush hears from this one.
    """

    def __init__(self, descriptor: int, attention: array[int] | None = None, witness: int = -1) -> None:
        self._descriptor = descriptor
        self._witness = witness
        self._attention = array("Q", (0,)) if attention is None else attention
        self.size = os.fstat(descriptor).st_size
        self.read_only = fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY
        self._asks_first = bool(_RWF_NOWAIT)

    @property
    def sectors(self) -> int:
        return self.size // SECTOR_BYTES

    def read(self, offset: int, size: int, /) -> bytes:
        data = os.pread(self._descriptor, size, offset)
        if len(data) < size:
            data += self._rest(offset + len(data), size - len(data))
        return data

    def read_now(self, offset: int, size: int, /) -> bytes | bytearray | None:
        if not self._asks_first:
            return None
        data = bytearray(size)
        try:
            if os.preadv(self._descriptor, [data], offset, _RWF_NOWAIT) == size:
                return data
        except OSError as error:  # not in memory; or an error, which the read that blocks will tell of
            if error.errno in _NOT_KNOWN:
                self._asks_first = False
        return None

    def write(self, offset: int, data: Buffer, /) -> None:
        view = memoryview(data)
        while view:
            count = os.pwrite(self._descriptor, view, offset)
            view, offset = view[count:], offset + count

    def flush(self) -> None:
        os.fdatasync(self._descriptor)

    def worker(self) -> ImageThread:
        return ImageThread(self._descriptor, self._attention, self._witness)

    def _rest(self, offset: int, size: int) -> bytes:
        parts = []
        while size > 0:
            part = os.pread(self._descriptor, size, offset)
            if not part:
                raise OSError(f"the image has become shorter than {self.size} bytes")
            parts.append(part)
            offset, size = offset + len(part), size - len(part)
        return b"".join(parts)
