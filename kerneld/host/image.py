"""Saves RAM, as the kernel sees it, and the devices' memory behind it, to a sparse file: what `sel4py inspect --image`
and `fsck --image` read.

Runs between two transactions on the kernel's thread, so an image is of one instant as far as kernel records go; what
tasks write at that time may be half in it. Holes stay holes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Protocol

FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
PART: Final = ".part"  # behind the name of a file that is not whole yet
_CHUNK: Final = 1 << 20


class OwnMemories(Protocol):
    """Who knows which frames have memory of their own (mappings.py, frame_memory.py)."""

    def own_memory(self) -> Iterable[tuple[int, int, int]]: ...


def save_image(ram_fd: int, frames: OwnMemories, path: Path) -> int:
    """Write the image; returns its size in bytes. A file that could not be written whole is removed."""
    target = os.open(path, FLAGS, 0o600)
    try:
        size = os.fstat(ram_fd).st_size
        os.ftruncate(target, size)
        _copy(ram_fd, target, 0, size)
        for address, descriptor, length in frames.own_memory():
            _copy(descriptor, target, address, length)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(target)
    return size


def _copy(source: int, target: int, offset: int, size: int) -> None:
    """Copy the source's bytes to `offset` of the target, holes left out."""
    at = 0
    while at < size:
        try:
            at = os.lseek(source, at, os.SEEK_DATA)
        except OSError:  # ENXIO: no data behind
            return
        hole = min(os.lseek(source, at, os.SEEK_HOLE), size)
        while at < hole:
            at += os.pwrite(target, os.pread(source, min(_CHUNK, hole - at), at), offset + at)
