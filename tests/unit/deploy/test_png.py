"""A picture as PNG: what any reader of PNG finds in it."""

from __future__ import annotations

import resource
import struct
import zlib
from pathlib import Path

import pytest

from deploy import png

RED, GREEN, BLUE = (struct.pack("<I", colour) for colour in (0xFF0000, 0x00FF00, 0xAA0000FF))


def chunks(data: bytes) -> dict[bytes, bytes]:
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, found = 8, {}
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        assert struct.unpack_from(">I", data, at + 8 + length) == (zlib.crc32(kind + body),)
        found[kind] = body
        at += 12 + length
    return found


def test_pixels_are_lines_of_red_green_and_blue() -> None:
    found = chunks(png.of_pixels(RED + GREEN + BLUE + BLUE + RED + GREEN, 3, 2))
    assert list(found) == [b"IHDR", b"IDAT", b"IEND"]
    assert struct.unpack(">2I5B", found[b"IHDR"]) == (3, 2, 8, 2, 0, 0, 0)
    first, second = b"\xff\0\0\0\xff\0\0\0\xff", b"\0\0\xff\xff\0\0\0\xff\0"
    assert zlib.decompress(found[b"IDAT"]) == b"\0" + first + b"\0" + second


@pytest.mark.parametrize(("size", "width", "height"), [(4, 2, 1), (8, 1, 1), (0, 0, 5)])
def test_another_number_of_pixels_is_no_picture(size: int, width: int, height: int) -> None:
    with pytest.raises(ValueError, match="no picture"):
        png.of_pixels(bytes(size), width, height)


def test_a_picture_that_finds_no_room_leaves_the_former_one(tmp_path: Path) -> None:
    path, link = tmp_path / "shown.png", tmp_path / "link.png"
    link.symlink_to(path)
    png.save(link, png.of_pixels(RED, 1, 1))
    png.ensure_replaceable(link)
    former = path.read_bytes()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8, before[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            png.save(link, png.of_pixels(RED + GREEN, 2, 1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_bytes() == former
    assert sorted(tmp_path.iterdir()) == [link, path]
    assert link.is_symlink()


def test_a_link_that_leads_nowhere_is_replaced(tmp_path: Path) -> None:
    link = tmp_path / "link.png"
    link.symlink_to(link)
    png.save(link, png.of_pixels(RED, 1, 1))
    assert link.is_file()
