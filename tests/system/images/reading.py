"""Reads files of the host that are no code, and some that are; ends with 0 if it could read just those."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path

NO_CODE = (
    "/etc/passwd",
    "/etc/hostname",
    "/proc/self/maps",
    "/proc/1/cmdline",
    "/proc/self/fd",
    "/dev/urandom",
    "/",
    "/tmp",
)


def main(*_: int) -> int:
    tree = Path(__file__).resolve().parents[3]
    places = (*map(Path, NO_CODE), tree, tree / "Makefile", tree / ".git", Path(sys.prefix, "pyvenv.cfg"))
    could = [str(place) for place in places if place.exists() and can_read(place)]
    assert not could, could
    assert can_read(Path(__file__))
    assert importlib.import_module("colorsys").rgb_to_yiq(0, 0, 0) == (0.0, 0.0, 0.0)
    assert can_read(Path(os.__file__))
    return 0


def can_read(place: Path) -> bool:
    read: Callable[[], object] = place.read_bytes if place.is_file() else lambda: os.listdir(place)
    if place.is_char_device():
        read = place.open
    try:
        read()
    except PermissionError:
        return False
    return True
