"""Disk images as the host's commands work on them: the same format layer as the server's, over a file.

Rules. An image that a running system has is refused (flock). What stands in an image is another's: a name from it
becomes a path of the host only after a look at it. A file that is copied, either way, is there whole or not at all.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Final, NoReturn

import msgspec

from deploy.answers import AnswerError
from deploy.interrupts import held_interrupts, let_interrupts
from deploy.saved_files import replaced
from hw.devices.disk_image import DiskImage, ImageError, open_image
from libsel4py.interfaces.block import SECTOR_BYTES
from libsel4py.interfaces.file import NAME_BYTES, PATH_BYTES, Entry, FileError, Kind, NoSpace
from libsel4py.littlefs import (
    BlockStore,
    Geometry,
    LittleFsVolume,
    NoFileSystem,
    StoreFailed,
    format_store,
    read_geometry,
)
from libsel4py.littlefs.check import Health, check
from libsel4py.partitions import BadTable, Partition, one_partition, read_table

PIECE_BYTES: Final = 1 << 20
PART_NAME: Final = ".sel4py-import"  # in an image's root: a copy that is not whole yet


class DiskRefused(AnswerError):
    """The command cannot be done; the text says why, and what would work."""


class FileStore(BlockStore):
    """Some sectors of an open image."""

    size = 0
    read_only = False

    def __init__(self, image: DiskImage, part: Partition | None = None) -> None:
        self._image = image
        self._first = part.first * SECTOR_BYTES if part else 0
        self.size = part.sectors * SECTOR_BYTES if part else image.size
        self.read_only = image.read_only

    def read(self, offset: int, size: int, /) -> bytes:
        try:
            return self._image.read(self._first + offset, size)
        except OSError as error:
            raise StoreFailed(str(error)) from error

    def write(self, pieces: Sequence[tuple[int, bytes | bytearray | memoryview]], /) -> None:
        try:
            for offset, data in pieces:
                self._image.write(self._first + offset, bytes(data))
        except OSError as error:
            raise StoreFailed(str(error)) from error

    def flush(self) -> None:
        try:
            if not self.read_only:
                self._image.flush()
        except OSError as error:
            raise StoreFailed(str(error)) from error


def create(path: Path, size: int, partition: bool) -> Geometry:
    """Make an image of ``size`` bytes with an empty file system, in a partition if asked. Raises DiskRefused."""
    with held_interrupts():
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o666))
        except FileExistsError:
            raise DiskRefused(f"{path} exists, and would be lost; remove it first, or choose another name") from None
        try:
            with _image(path, size, read_only=False) as image:
                part = None
                if partition:
                    table, part = one_partition(size // SECTOR_BYTES)
                    image.write(0, table)
                geometry = format_store(FileStore(image, part))
                image.flush()
                return geometry
        except BaseException as error:
            path.unlink(missing_ok=True)
            if isinstance(error, ValueError | StoreFailed):
                raise DiskRefused(str(error)) from error
            raise


@contextmanager
def opened(path: Path, partition: int | None, read_only: bool) -> Iterator[LittleFsVolume]:
    """The file system of an image, or of a partition; written out at the end. Raises DiskRefused.

    Inside, signals raise nothing but at `let_interrupts`.
    """
    with held_interrupts(), _store(path, partition, read_only) as store, _told(path):
        volume = LittleFsVolume(store)
        try:
            yield volume
        finally:
            volume.close()


def checked(path: Path, partition: int | None) -> Health:
    """Look at all of an image's file system. Raises DiskRefused: it has none, or cannot be read.

    A process of its own looks: damage that littlefs takes for a bug of its own makes it end that.
    """
    with _store(path, partition, read_only=True) as store, _told(path):
        geometry = read_geometry(store)
        reader, writer = os.pipe()
        child = os.fork()
        if not child:
            _check_and_exit(store, geometry, writer)
        os.close(writer)
        with open(reader, "rb") as answer:
            found = answer.read()
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status:
        return Health(geometry, problems=["it is damaged so that littlefs gives up"])
    return msgspec.json.decode(found, type=Health)


def _check_and_exit(store: FileStore, geometry: Geometry, writer: int) -> NoReturn:
    """The child's part. Ends without what its parent has to do at its own end."""
    status = 1
    try:
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 1)
        os.dup2(silent, 2)
        try:
            health = check(store)
        except StoreFailed as error:
            health = Health(geometry, problems=[str(error)])
        with open(writer, "wb") as answer:
            answer.write(msgspec.json.encode(health))
        status = 0
    finally:
        os._exit(status)


def listed(volume: LittleFsVolume, path: str) -> list[Entry]:
    """What a directory holds, by name; or the file itself."""
    found = volume.stat(path)
    if found.kind is Kind.FILE:
        return [Entry(path.rpartition("/")[2], found.kind, found.size)]
    return sorted(volume.list(path), key=lambda entry: entry.name)


def inside(text: str) -> str:
    """A path in an image, as the volume takes it. Raises DiskRefused."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise DiskRefused(f"{text!r} is not UTF-8, and no name in an image") from None
    names = [name for name in text.split("/") if name]
    path = "/".join(names)
    if any(name in (".", "..") or "\0" in name or _is_long(name, NAME_BYTES) for name in names):
        raise DiskRefused(
            f"{text!r} is no path in an image: names are text of at most {NAME_BYTES} bytes, and none is '.' or '..'"
        )
    if _is_long(path, PATH_BYTES):
        raise DiskRefused(f"{text[:80]!r}… is no path in an image: it has more than {PATH_BYTES} bytes")
    return path


def _is_long(text: str, most: int) -> bool:
    """Whether it has more bytes than that, or is a name of the host's that is no text."""
    try:
        return len(text.encode()) > most
    except UnicodeEncodeError:
        return True


def put(volume: LittleFsVolume, source: Path, target: str) -> int:
    """Copy a file or a folder of the host into an image. Returns how many files.

    Args:
        target: a path in the image; where it is a directory, the copy has the source's name in it.
    Raises:
        DiskRefused, OSError, FileError.
    """
    if _kind(volume, target) is Kind.DIRECTORY:
        target = inside(f"{target}/{source.absolute().name}")
    folder = target.rpartition("/")[0]
    if folder and _kind(volume, folder) is not Kind.DIRECTORY:
        raise DiskRefused(f"the disk has no directory {folder}; importing a folder makes one, of that name")
    return _put(volume, source, target, ())


def _put(volume: LittleFsVolume, source: Path, target: str, above: tuple[Path, ...]) -> int:
    """``above``: the folders that it is in, as they are called without links."""
    if source.is_dir():
        folder = source.resolve()
        if folder in above:
            raise DiskRefused(f"{source} is a link to a folder that it is in: a copy of it would have no end")
        above += (folder,)
        if _kind(volume, target) is not Kind.DIRECTORY:
            volume.make_directory(target)
        return sum(_put(volume, each, inside(f"{target}/{each.name}"), above) for each in sorted(source.iterdir()))
    mode = source.stat().st_mode
    if not stat.S_ISREG(mode):
        raise DiskRefused(f"{source} is neither a file nor a folder")
    if target == PART_NAME:
        raise DiskRefused(f"{PART_NAME} is what a copy is called that is not whole yet; choose another name")
    try:
        with source.open("rb") as reader:
            file = volume.open(PART_NAME, create=True, exclusive=False)
            file.truncate(0)
            offset = 0
            while data := reader.read(PIECE_BYTES):
                file.write(offset, data)
                offset += len(data)
                let_interrupts()
            file.close()
        volume.rename(PART_NAME, target)
    except BaseException:
        if _kind(volume, PART_NAME) is Kind.FILE:
            volume.remove(PART_NAME)
        raise
    let_interrupts()
    return 1


def get(volume: LittleFsVolume, source: str, target: Path, image: Path) -> int:
    """Copy a file or a directory of an image to the host. Returns how many files. Raises as `put`.

    Args:
        target: where it is a folder, the copy has the source's name in it. image: the image, which is not replaced.
    """
    kind = volume.stat(source).kind
    if target.is_dir() and source:
        target /= PurePosixPath(source).name
    return _get(volume, source, target, kind, image)


def _get(volume: LittleFsVolume, source: str, target: Path, kind: Kind, image: Path) -> int:
    if kind is Kind.DIRECTORY:
        if _is_long(source, PATH_BYTES):
            raise DiskRefused(
                f"{source[:80]}… has more than {PATH_BYTES} bytes; sel4py disk check tells whether directories go round"
            )
        target.mkdir(exist_ok=True)
        count = 0
        for entry in volume.list(source):
            if "/" in entry.name or "\0" in entry.name or entry.name in ("", ".", ".."):
                raise DiskRefused(f"{source}: {entry.name!r} is a name that no file can have; nothing more is copied")
            below = f"{source}/{entry.name}" if source else entry.name
            count += _get(volume, below, target / entry.name, entry.kind, image)
        return count
    if target.exists() and target.samefile(image):
        raise DiskRefused(f"{target} is the image itself, and would be lost; choose another name")
    file = volume.open(source, create=False, exclusive=False)
    with replaced(target) as writer:
        offset = 0
        while data := file.read(offset, PIECE_BYTES):
            writer.write(data)
            offset += len(data)
            let_interrupts()
    file.close()
    return 1


def _kind(volume: LittleFsVolume, path: str) -> Kind | None:
    try:
        return volume.stat(path).kind
    except FileError:
        return None


@contextmanager
def _image(path: Path, size: int | None, read_only: bool) -> Iterator[DiskImage]:
    try:
        descriptor = open_image(path, size, read_only)
    except ImageError as error:
        raise DiskRefused(str(error)) from None
    try:
        yield DiskImage(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _store(path: Path, partition: int | None, read_only: bool) -> Iterator[FileStore]:
    if not path.exists():
        raise DiskRefused(f"there is no {path}; sel4py disk create makes one")
    with _image(path, None, read_only) as image:
        yield FileStore(image, _part(path, image, partition))


def _part(path: Path, image: DiskImage, number: int | None) -> Partition | None:
    """Where the file system lies: in the partition of that number; or in the whole disk, or in its only partition."""
    whole = FileStore(image)
    with _told(path):
        if number is None and _has_one(whole):
            return None
        try:
            table = read_table(
                lambda first, count: whole.read(first * SECTOR_BYTES, count * SECTOR_BYTES), image.sectors
            )
        except BadTable as error:
            if number is None:
                return None  # what it is instead is told by who reads it
            raise DiskRefused(f"{path} has no partitions: {error}") from None
    known = ", ".join(map(str, table)) or "none"
    if number is None:
        if len(table) != 1:
            raise DiskRefused(f"{path} has partitions ({known}); say which by --partition")
        return next(iter(table.values()))
    if number not in table:
        raise DiskRefused(f"{path} has no partition {number}; it has {known}")
    return table[number]


def _has_one(store: FileStore) -> bool:
    try:
        read_geometry(store)
    except NoFileSystem:
        return False
    return True


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """What the format layer refuses, told with the image's name."""
    try:
        yield
    except NoFileSystem as error:
        raise DiskRefused(f"{path}: {error}") from error
    except NoSpace as error:
        raise DiskRefused(f"{path} is full, or will be: not all of it fits") from error
    except (StoreFailed, FileError) as error:
        raise DiskRefused(f"{path}: {error}") from error
