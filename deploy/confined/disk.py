"""The disk by which files reach a confined program, and come back: a littlefs image of this run's own.

Layout: ``given/script/NAME`` the program's text, ``given/files`` what it may read, ``results`` what it may write.

Rules. The program speaks to a file system's server, and never writes the disk itself; all the same, what comes back is
another's: only files that were given to be written are looked for, at the names that they were given under. A file of
the host is replaced as a whole, when all of them have been read, so a run that is ended loses nothing of the former.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from deploy.confined.gifts import BadRequest, Gift, is_text
from deploy.disk import PIECE_BYTES, DiskRefused, create, opened, put
from deploy.interrupts import let_interrupts
from libsel4py.interfaces.file import Kind, NoSuchFile
from libsel4py.littlefs import LittleFsVolume

LEAST_BYTES: Final = 4 << 20
FILE_BYTES: Final = 8192  # that a small file takes, and its name
NAME_LETTERS: Final = 60


def fill(image: Path, script: Path, name: str, gifts: Sequence[Gift], room: int) -> None:
    """Make the image: the program's text, what it is given, and ``room`` bytes besides.

    Raises DiskRefused, OSError, BadRequest.
    """
    size = _bytes_of(script) + sum(_bytes_of(gift.source) for gift in gifts) + room + LEAST_BYTES
    create(image, -(-size // LEAST_BYTES) * LEAST_BYTES, partition=False)
    with opened(image, None, read_only=False) as volume:
        for folder in ("given", "given/script", "given/files", "results"):
            volume.make_directory(folder)
        put(volume, script, f"given/script/{name}")
        for gift in gifts:
            if gift.source.exists():
                _put(volume, gift.source, f"results/{gift.name}" if gift.writable else f"given/files/{gift.name}")


def _put(volume: LittleFsVolume, source: Path, target: str) -> None:
    if not source.is_dir():
        put(volume, source, target)
        return
    volume.make_directory(target)
    for each in _within(source):
        _put(volume, each, f"{target}/{each.name}")


def _within(folder: Path) -> list[Path]:
    """The files and folders of a folder. Links are left out: what they lead to was not given, and they can go round."""
    with os.scandir(folder) as entries:
        kept = [
            entry for entry in entries if entry.is_dir(follow_symlinks=False) or entry.is_file(follow_symlinks=False)
        ]
    for entry in kept:
        if not is_text(entry.name):
            raise BadRequest(f"{folder} holds {entry.name!r}, whose name is not UTF-8, and cannot be given")
    return sorted(folder / entry.name for entry in kept)


def _bytes_of(source: Path) -> int:
    """What the image needs for it, roughly: its blocks, and their list."""
    if source.is_dir():
        return FILE_BYTES + sum(_bytes_of(each) for each in _within(source))
    size = source.stat().st_size if source.exists() else 0
    return FILE_BYTES + size + size // 64


def bring_back(image: Path, gifts: Sequence[Gift]) -> list[str]:
    """Replace the files that were given to be written by what the program has left; returns their names.

    One that the program has not made, or has removed, stays as it is. Raises DiskRefused, OSError, BadRequest; then no
    file is half written, and those before it in order are replaced.
    """
    ready: list[tuple[Gift, Path]] = []
    with contextlib.ExitStack() as stack:
        with opened(image, None, read_only=True) as volume:
            for gift in gifts:
                if gift.writable and (beside := _copy(volume, gift)) is not None:
                    stack.callback(beside.unlink, missing_ok=True)
                    ready.append((gift, beside))
        for gift, beside in ready:
            os.replace(beside, gift.source)
            _sync(gift.source.parent)
    return [gift.name for gift, _ in ready]


def _copy(volume: LittleFsVolume, gift: Gift) -> Path | None:
    """Its bytes in a new file beside it, with its mode; None if the program has left none."""
    path = f"results/{gift.name}"
    try:
        if volume.stat(path).kind is not Kind.FILE:
            raise BadRequest(f"{gift.name} is no file any more: {gift.source} stays as it was")
    except NoSuchFile:
        return None
    beside = gift.source.with_name(f".{gift.source.name[:NAME_LETTERS]}.{os.getpid()}.new")
    mode = gift.source.stat().st_mode & 0o777 if gift.source.exists() else 0o666
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
    try:
        with os.fdopen(descriptor, "wb") as writer:
            if gift.source.exists():
                os.fchmod(writer.fileno(), mode)
            file = volume.open(path, create=False, exclusive=False)
            offset = 0
            while data := file.read(offset, PIECE_BYTES):
                writer.write(data)
                offset += len(data)
                let_interrupts()
            file.close()
            writer.flush()
            os.fsync(writer.fileno())
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    return beside


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


__all__ = ["DiskRefused", "bring_back", "fill"]
