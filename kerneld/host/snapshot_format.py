"""The file of a suspended system: RAM, sparse, and behind it what is needed to go on, with a checksum of everything.

    RAM           as `sel4py image` saves it, with the devices' memory: `inspect --image` and `fsck --image` read it too
    trailer       msgpack, a map: `Trailer`
    footer        magic, format version, 0, the trailer's bytes, SHA-256 of these and of the trailer

The trailer has the SHA-256 of each chunk of RAM that is not all zero; all others are zero. So there is no byte in the
file that can change and be taken for what was saved. A checksum finds damage: whoever can write the file can write
another system.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Final

import msgpack

MAGIC: Final = b"sel4pySN"
VERSION: Final = 2
CHUNK: Final = 1 << 20
FOOTER: Final = struct.Struct("<8sIIQ32s")
_HEAD: Final = struct.Struct("<8sIIQ")
MOST_TRAILER: Final = 16 << 20
MOST_RAM: Final = 1 << 40


class BadSnapshot(ValueError):
    """The file is no suspended system, was damaged, or is of another version; the text says which."""


@dataclass(frozen=True)
class Disk:
    """A disk's file as it was left. ``mtime_ns``: when it was last written."""

    name: str
    size: int
    inode: int
    mtime_ns: int


@dataclass(frozen=True)
class Trailer:
    """What stands behind RAM.

    Attributes:
        layout: RAM's layout version. page: bytes of a page at the host. name: the system's.
        device_bytes: what follows RAM, up to the end of the devices' memory.
        source: the file of its description. builder: a digest of the initial task's code. description: as root is
        handed it. clock_us: the machine's clock. chunks: (number, SHA-256).
    """

    layout: int
    page: int
    ram_bytes: int
    name: str
    source: str
    builder: str
    description: bytes
    clock_us: int
    disks: tuple[Disk, ...]
    chunks: tuple[tuple[int, bytes], ...]
    device_bytes: int = 0

    @property
    def memory_bytes(self) -> int:
        """RAM's and what follows it."""
        return self.ram_bytes + self.device_bytes


def chunks_of(descriptor: int, size: int) -> Iterator[tuple[int, bytes]]:
    """Number and bytes of each chunk of a sparse file's first ``size`` bytes that is not all zero."""
    at = 0
    while at < size:
        try:
            at = os.lseek(descriptor, at, os.SEEK_DATA) // CHUNK * CHUNK
        except OSError:  # ENXIO: no data behind
            return
        if at >= size:
            return
        data = os.pread(descriptor, min(CHUNK, size - at), at)
        if data.count(0) != len(data):
            yield at // CHUNK, data
        at += CHUNK


def digests(descriptor: int, size: int) -> tuple[tuple[int, bytes], ...]:
    """What `Trailer.chunks` is of this RAM."""
    return tuple((number, hashlib.sha256(data).digest()) for number, data in chunks_of(descriptor, size))


def pack(trailer: Trailer) -> bytes:
    """Trailer and footer."""
    body: bytes = msgpack.packb(asdict(trailer))
    head = _HEAD.pack(MAGIC, VERSION, 0, len(body))
    return body + head + hashlib.sha256(head + body).digest()


def memory_bytes_of(descriptor: int) -> int | None:
    """How much is in front of the trailer, in a file that has a footer; None of one without. Raises BadSnapshot."""
    return None if _footer(descriptor) is None else read(descriptor).memory_bytes


def _footer(descriptor: int) -> tuple[bytes, int, int, int, bytes] | None:
    size = os.fstat(descriptor).st_size
    data = os.pread(descriptor, FOOTER.size, max(size - FOOTER.size, 0))
    return FOOTER.unpack(data) if len(data) == FOOTER.size and data.startswith(MAGIC) else None


def read(descriptor: int) -> Trailer:
    """The trailer of a file, checked; RAM's bytes are not. Raises BadSnapshot."""
    import msgspec  # a kernel writes such files, reads none, and starts sooner without

    footer = _footer(descriptor)
    if footer is None:
        raise BadSnapshot("it does not end as the file of a suspended system does: it is another file, or cut off")
    _, version, zero, length, digest = footer
    if version != VERSION:
        raise BadSnapshot(f"it is of format {version}, and this sel4py reads {VERSION}: resume with the one that saved")
    end = os.fstat(descriptor).st_size - FOOTER.size
    if zero or length > min(end, MOST_TRAILER):
        raise BadSnapshot("it was damaged: its footer does not fit its size")
    body = os.pread(descriptor, length, end - length)
    if hashlib.sha256(_HEAD.pack(MAGIC, version, zero, length) + body).digest() != digest:
        raise BadSnapshot("it was damaged: what stands behind RAM has not the checksum that was saved")
    try:
        # By its types: a number is none of bytes to make, and what has no place in it costs no memory.
        trailer = msgspec.msgpack.decode(body, type=Trailer)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadSnapshot(f"what stands behind RAM is nothing that sel4py writes: {error}") from None
    if "\0" in trailer.source:
        raise BadSnapshot("what stands behind RAM is nothing that sel4py writes: its description is no file's name")
    sizes = trailer.ram_bytes, trailer.device_bytes
    in_range = 0 < sizes[0] <= MOST_RAM and 0 <= sizes[1] <= MOST_RAM and not any(size % 4096 for size in sizes)
    if sum(sizes) != end - length or not in_range:
        raise BadSnapshot(f"it has {end - length} bytes of RAM and devices' memory, and should have {sum(sizes)}")
    return trailer


def copy_ram(source: int, trailer: Trailer, target: int) -> None:
    """Copy RAM, and what follows it, into a file that is all zero; check what was copied. Raises BadSnapshot."""
    known = dict(trailer.chunks)
    for number, data in chunks_of(source, trailer.memory_bytes):
        if hashlib.sha256(data).digest() != known.pop(number, None):
            raise BadSnapshot(f"it was damaged: RAM from {number * CHUNK:#x} on has not the checksum that was saved")
        written = 0
        while written < len(data):
            written += os.pwrite(target, memoryview(data)[written:], number * CHUNK + written)
    if known:
        raise BadSnapshot(f"it was damaged: RAM from {min(known) * CHUNK:#x} on is empty, and was not")
