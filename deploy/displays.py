"""A framebuffer's keys of a description."""

from __future__ import annotations

from typing import Final

from deploy.quantities import format_size
from deploy.reader import Table
from hw.devices.framebuffer import MOST_BYTES, DisplayMode
from libsel4py.description import Display

WIDTH_HIGH, HEIGHT_HIGH, PICTURES_HIGH = 4096, 4096, 8
_SMALL: Final = Display(640, 480)


def read_display(table: Table) -> tuple[Display, int]:
    """What a framebuffer shows, and the bytes of its memory."""
    table.require("width", "the pixels of a line, such as 640")
    table.require("height", "the lines of a picture, such as 480")
    display = Display(
        table.integer("width", _SMALL.width, 1, WIDTH_HIGH),
        table.integer("height", _SMALL.height, 1, HEIGHT_HIGH),
        table.integer("pictures", _SMALL.pictures, 1, PICTURES_HIGH),
    )
    mode = DisplayMode(display.width, display.height, display.pictures)
    size = mode.pictures * mode.picture_bytes
    if size > MOST_BYTES:
        most = f"a framebuffer has {format_size(MOST_BYTES)} at most: make it smaller, or use fewer pictures"
        table.report("", f"takes {format_size(size)} for its pictures", most)
        return _SMALL, 0
    return display, 1 << mode.memory_bits
