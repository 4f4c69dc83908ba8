"""Becomes another user for good, and then a command: ``python become.py USER COMMAND...``; root's alone.

sel4py itself never changes its user. Where that user may not enter a folder on the way to this interpreter or to the
tree (root's home, say), the command runs in a mount namespace of its own, in which such a folder holds the way alone.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import sys
from collections import defaultdict
from pathlib import Path
from typing import Final

ENTER: Final = 0o001  # others may
CLONE_NEWNS, MS_BIND, MS_REC, MS_PRIVATE = 0x20000, 0x1000, 0x4000, 0x40000
ROOT: Final = Path(__file__).resolve().parents[2]
_libc: Final = ctypes.CDLL(None, use_errno=True)


def closed_ways() -> dict[Path, set[Path]]:
    """The folders that nobody but root may enter, each with what lies in it on the way to what is needed."""
    ways: defaultdict[Path, set[Path]] = defaultdict(set)
    for needed in map(Path.resolve, (Path(sys.base_prefix), Path(sys.prefix), ROOT)):
        for folder, entry in itertools.pairwise((*reversed(needed.parents), needed)):
            if not folder.stat().st_mode & ENTER:
                ways[folder].add(entry)
                break
    return ways


def open_ways(ways: dict[Path, set[Path]]) -> None:
    """Lay a folder with these entries alone over each. Raises OSError where this process may not."""
    _done(_libc.unshare(CLONE_NEWNS))
    mount("none", Path("/"), MS_REC | MS_PRIVATE)
    for folder, entries in ways.items():
        held = {entry: os.open(entry, os.O_PATH) for entry in entries}
        mount("tmpfs", folder, 0, b"mode=755")
        for entry, descriptor in held.items():
            entry.mkdir()
            mount(f"/proc/self/fd/{descriptor}", entry, MS_BIND | MS_REC)
            os.close(descriptor)


def mount(source: str, target: Path, flags: int, data: bytes | None = None) -> None:
    _done(_libc.mount(source.encode(), bytes(target), b"tmpfs", ctypes.c_ulong(flags), data))


def _done(result: int) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def main() -> None:
    user = int(sys.argv[1])
    if ways := closed_ways():
        open_ways(ways)
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)
    os.execv(sys.argv[2], sys.argv[2:])


if __name__ == "__main__":
    main()
