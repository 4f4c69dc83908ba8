"""Pictures as PNG files (W3C, Portable Network Graphics, third edition): 8 bits each of red, green and blue."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path
from typing import Final

from deploy import saved_files

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_HEADER: Final = struct.Struct(">2I5B")
_TRUE_COLOUR: Final = 2
_NAME_LETTERS: Final = 50  # of a file's, in that of the one beside it


def ensure_replaceable(path: Path) -> None:
    """Raises NotReplaced if something is there that a saved picture would destroy, and that is none itself."""
    saved_files.ensure_replaceable(path, "picture", len(SIGNATURE), SIGNATURE.__eq__)


def save(path: Path, picture: bytes) -> None:
    """Write a whole file, in one step: where it cannot be written the former one stays. Raises OSError."""
    path = saved_files.target_of(path)
    beside = path.with_name(f".{path.name[:_NAME_LETTERS]}.{os.getpid()}.new")
    file = beside.open("xb")
    try:
        with file:
            file.write(picture)
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def of_pixels(pixels: bytes, width: int, height: int) -> bytes:
    """A whole file. ``pixels``: 0x00RRGGBB in little endian, line by line. Raises ValueError of another number."""
    if len(pixels) != 4 * width * height or not pixels:
        raise ValueError(f"{len(pixels)} bytes are no picture of {width} x {height} pixels")
    colours = bytearray(3 * width * height)
    for number in range(3):
        colours[number::3] = pixels[2 - number :: 4]
    lines = (b"\0" + colours[at : at + 3 * width] for at in range(0, len(colours), 3 * width))  # 0: not filtered
    header = _HEADER.pack(width, height, 8, _TRUE_COLOUR, 0, 0, 0)
    data = zlib.compress(b"".join(lines))
    return SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
