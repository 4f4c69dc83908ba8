"""Saved images of RAM, looked at off line.

Rule: an image is never written; the kernel's code works on a private copy of its pages.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy import saved_files
from deploy.management import ManagementError
from deploy.problems import suggest
from deploy.saved_files import target_of
from hw.ram import Ram, RamError
from kerneld import inspection, invariants, layout
from kerneld.host.image import PART
from kerneld.host.snapshot_format import BadSnapshot, memory_bytes_of
from libsel4py.abi import WORD_BYTES


@contextmanager
def opened(path: Path) -> Iterator[Ram]:
    """RAM as it stands in an image. Raises ManagementError if the file cannot be one."""
    with path.open("rb") as file:
        try:
            size = memory_bytes_of(file.fileno()) or file.seek(0, 2)
        except BadSnapshot as error:
            raise ManagementError(f"{path} cannot be inspected: {error}") from None
        if size < layout.MINIMUM_RAM or size % mmap.PAGESIZE:
            raise ManagementError(f"{path} has {size} bytes and is no image of RAM; save one with `sel4py image FILE`")
        try:
            pages = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_COPY)
        except OSError as error:
            text = f"{path} has {size} bytes, which this host does not map: {error.strerror}"
            raise ManagementError(text) from None
    if not _begins_as_ram(pages):
        raise ManagementError(f"{path} does not begin as RAM does; save an image with `sel4py image FILE`")
    try:
        yield Ram(pages, layout.UNDO_LOG, layout.UNDO_LOG_BYTES)
    except (RamError, ValueError) as error:
        raise ManagementError(f"{path} is no image of RAM, or is damaged: {error}") from error


def ensure_replaceable(path: Path) -> Path:
    """The file that is saved where this path leads. A suspended system's file is an image, too.

    Raises NotReplaced if there is a file that a saved image would destroy, and that is none itself: there, or beside
    it, where the kernel writes what is not whole yet (kerneld/host/image.py).
    """
    target = target_of(path)
    for each in (target, target.with_name(target.name + PART)):
        saved_files.ensure_replaceable(each, "image", layout.HEADER_MAGIC + WORD_BYTES, _begins_as_ram)
    return target


def _begins_as_ram(header: bytes | mmap.mmap) -> bool:
    return int.from_bytes(header[layout.HEADER_MAGIC : layout.HEADER_MAGIC + WORD_BYTES], "little") == layout.MAGIC


def fsck(path: Path) -> list[object]:
    """The broken invariants in an image. Raises ManagementError if the file cannot be one."""
    with opened(path) as ram:
        return [violation._asdict() for violation in invariants.check(ram)]


def inspect(path: Path, what: str) -> object:
    """What a running system would answer to ``inspect``. Raises ManagementError if the file cannot be an image."""
    if what in ("devices", "kernel"):
        raise ManagementError(f"an image is of RAM, and holds no {what}: look at that in the running system")
    if what not in inspection.VIEWS:
        raise ManagementError(f"nothing is called {what!r} that can be inspected; {suggest(what, inspection.VIEWS)}")
    with opened(path) as ram:
        return inspection.VIEWS[what](ram)
