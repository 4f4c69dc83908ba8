"""A root folder for tasks that has their code and nothing else of the host's, made by who is to fork them.

Landlock keeps a task from opening what is no code. To find out is not to open: stat(2), access(2) and readlink(2) tell
of any path whether it is there, how long and how old it is, and where a link leads. In this tree no such path is there.

Rules. What is code lies where it lay, so that the loader and imports notice nothing: files and folders are bound from
the host's, links on the way to them are made again. /proc is the former one, until process 1 lays another over it
(process_namespace.py). All else the maker opens before. It has a mount namespace of its own, and one thread.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from hw import namespaces
from hw.child_answer import answer_of_child

ALTERNATIVES: Final = "/etc/alternatives"  # through which libraries of Debian's lead to libraries
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_REMOUNT, _MS_BIND, _MS_REC = 1, 2, 4, 32, 1 << 12, 1 << 14
_MNT_DETACH: Final = 2
_MOST_LINKS: Final = 40  # as Linux follows

_libc = ctypes.CDLL(None, use_errno=True)


def enter(paths: Iterable[str | Path], at: str | Path) -> bool:
    """Have a root in which these paths are there alone, and be in it.

    Args:
        paths: absolute; one that is not there is left out. at: some folder that holds none of them. Its descriptors
        stay good.
    Returns:
        Whether the host permits it; nothing has changed if not.
    """
    links: dict[Path, str] = {}
    followed = [_followed(Path(path), links) for path in (*paths, ALTERNATIVES, "/proc")]
    found = {path for path in followed if path is not None and os.path.exists(path)}
    bound = sorted(path for path in found if not found & set(path.parents))
    try:
        _mount(b"tmpfs", at, b"tmpfs", _MS_NOSUID | _MS_NODEV, b"mode=0755")
    except OSError:
        return False
    try:
        for path in bound:
            _bind(path, Path(f"{at}{path}"))
        for link, said in links.items():
            if not set(bound) & set(link.parents):
                _link(Path(f"{at}{link}"), said)
        _mount(b"none", at, None, _MS_REMOUNT | _MS_BIND | _MS_RDONLY | _MS_NOSUID | _MS_NODEV)
        _pivot(at)
    except OSError:
        _libc.umount2(os.fsencode(at), _MNT_DETACH)
        return False
    return True


def permitted(at: str | Path) -> bool:
    """Whether the host lets a system have one, as its zygote asks for it. In a child."""
    caller = os.getpid()

    def enter_all() -> bytes:
        refused = namespaces.enter(caller)
        return b"y" if "mount" not in refused and enter([], at) else b""

    return bool(answer_of_child(enter_all))


def _followed(path: Path, links: dict[Path, str]) -> Path | None:
    """Where it leads, None if it goes round; `links` gets those that are followed, with what they say."""
    left, place = list(path.parts[1:]), Path("/")
    for _ in range(_MOST_LINKS + len(left)):
        while left:
            name = left.pop(0)
            place = place.parent if name == ".." else place / name
            if os.path.islink(place):
                break
        else:
            return place
        said = links[place] = os.readlink(place)
        target = Path(said)
        left[:0] = target.parts[1:] if target.is_absolute() else target.parts
        place = Path("/") if target.is_absolute() else place.parent
    return None


def _bind(path: Path, place: Path) -> None:
    if path.is_dir():
        place.mkdir(parents=True, exist_ok=True)
    else:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    _mount(os.fsencode(path), place, None, _MS_BIND | _MS_REC)


def _link(place: Path, said: str) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(said)


def _pivot(at: str | Path) -> None:
    """Let the tree at a folder be the root, and nothing be left of the former one."""
    before = os.getcwd()
    os.chdir(at)
    try:
        _check(_libc.pivot_root(b".", b"."))
    except OSError:
        os.chdir(before)
        raise
    # Two roots lie at one place; should the former one stay, no task may be made in it.
    if _libc.umount2(b".", _MNT_DETACH) != 0:
        raise SystemExit(f"the former root stays: {os.strerror(ctypes.get_errno())}")
    os.chdir("/")


def _mount(source: bytes, target: str | Path, kind: bytes | None, flags: int, data: bytes | None = None) -> None:
    _check(_libc.mount(source, os.fsencode(target), kind, ctypes.c_ulong(flags), data))


def _check(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
