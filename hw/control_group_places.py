"""Where control groups can be made: below the caller's own group, in each hierarchy of the host. cgroups(7).

A host has one hierarchy for all controllers (version 2), one for each controller or for some together (version 1), or a
mixture. In each of them a process is in one group, which is a folder; that the folder can be written to is what
delegation means, and a group of the caller's own is the only one that is looked at.

In version 2 a group that hands controllers on to groups below it has no processes itself. So there the caller, if it is
alone in its group, moves to a group below (`APART`), and comes back when nobody has need of that any more. It moves no
other process: where there is one, the group counts as not delegated.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

CONTROLLERS: Final = ("memory", "pids")
APART: Final = "sel4py.monitors"  # of those that start systems, beside whose groups it is
PROCESSES: Final = "cgroup.procs"
_ENABLED: Final = "cgroup.subtree_control"
_OWN_SCOPE: Final = (
    "start it alone in one of its own: systemd-run --user --scope -p Delegate=yes sel4py up … (root without --user)"
)


class NotDelegated(Exception):
    """The host lets the caller make no group with these controllers. The text says why."""


@dataclass(frozen=True, slots=True)
class Place:
    """The caller's own group in one hierarchy, of version 1 or 2. `controllers`: which of `CONTROLLERS` it is for."""

    folder: Path
    version: int
    controllers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Mount:
    version: int
    root: str
    point: str
    controllers: frozenset[str]

    def folder(self, group: str) -> Path | None:
        """A group's; None where the mount does not show it."""
        if ".." in group.split("/") or ".." in self.root.split("/"):
            return None  # above the root of the caller's cgroup namespace
        root = self.root.rstrip("/")
        if group != root and not group.startswith(f"{root}/"):
            return None
        return Path(self.point, group[len(root) :].lstrip("/"))


def own_places(process: Path = Path("/proc/self")) -> tuple[Place, ...]:
    """The caller's own groups that are to do with `CONTROLLERS`, one for each hierarchy. Raises NotDelegated."""
    try:
        groups, mounts = (process / "cgroup").read_text(), (process / "mountinfo").read_text()
    except OSError as error:
        raise NotDelegated(f"this host has no control groups ({error.strerror})") from None
    found: dict[tuple[Path, int], list[str]] = {}
    mounted = list(_mounts(mounts.splitlines()))
    for controller in CONTROLLERS:
        version, group = _group(groups.splitlines(), controller)
        folder = _folder(mounted, version, group, controller)
        if folder is None:
            raise NotDelegated(f"no mount shows this process's control group for {controller} ({group})")
        found.setdefault((folder, version), []).append(controller)
    return tuple(Place(folder, version, tuple(names)) for (folder, version), names in found.items())


def _group(lines: Iterable[str], controller: str) -> tuple[int, str]:
    """The version of the hierarchy that has the controller, and the caller's group there."""
    unified = None
    for line in lines:
        number, names, group = line.split(":", 2)
        if controller in names.split(","):
            return 1, group
        if number == "0" and not names:
            unified = group
    if unified is None:
        raise NotDelegated(f"this host has no control groups for {controller}")
    return 2, unified


def _mounts(lines: Iterable[str]) -> Iterable[_Mount]:
    """proc(5), /proc/pid/mountinfo: … root point options … - type source options."""
    for line in lines:
        place, _, kind = line.partition(" - ")
        system, _, options = (*kind.split(), "", "", "")[:3]
        if system in ("cgroup", "cgroup2"):
            root, point = map(_unescaped, place.split()[3:5])
            yield _Mount(2 if system == "cgroup2" else 1, root, point, frozenset(options.split(",")))


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), text)


def _folder(mounts: Iterable[_Mount], version: int, group: str, controller: str) -> Path | None:
    for mount in mounts:
        if mount.version == version and (version == 2 or controller in mount.controllers):
            folder = mount.folder(group)
            if folder is not None:
                return folder
    return None


@dataclass(slots=True)
class Opened:
    """A folder in which groups with the place's controllers can be made. `close` gives back what that took."""

    folder: Path
    place: Place
    _apart: Path | None = field(default=None)

    def close(self) -> None:
        """Move back, unless others have need of what was opened: the last one does. What is not handed on any more
        would bind no other system's tasks.
        """
        if self._apart is None:
            return
        with suppress(OSError):  # somebody has come meanwhile, or has removed it
            if self._is_shared(self._apart):
                return
            (self.folder / _ENABLED).write_text(_each("-", self.place.controllers))
            (self.folder / PROCESSES).write_text("0")
            self._apart.rmdir()

    def _is_shared(self, apart: Path) -> bool:
        """Whether another system's group is there, or another monitor."""
        groups = [each for each in self.folder.iterdir() if each.is_dir() and each != apart]
        return bool(groups) or (apart / PROCESSES).read_text().split() not in ([], [str(os.getpid())])


def opened(place: Place) -> Opened:
    """The place, made ready. Raises NotDelegated, OSError."""
    if place.version == 1:
        return Opened(place.folder, place)
    folder = place.folder.parent if place.folder.name == APART else place.folder
    if _has(folder / _ENABLED, place.controllers):
        return Opened(folder, place, place.folder if place.folder.name == APART else None)
    if not _has(folder / "cgroup.controllers", place.controllers):
        raise NotDelegated(f"control group {folder} has not the controllers {' and '.join(place.controllers)}")
    if not os.access(folder / _ENABLED, os.W_OK):
        raise NotDelegated(f"control group {folder} cannot be written to; {_OWN_SCOPE}")
    own = str(os.getpid())
    if any(each != own for each in (folder / PROCESSES).read_text().split()):
        raise NotDelegated(f"control group {folder} has other processes; {_OWN_SCOPE}")
    apart = folder / APART
    apart.mkdir(exist_ok=True)
    (apart / PROCESSES).write_text("0")
    made = Opened(folder, place, apart)
    try:
        (folder / _ENABLED).write_text(_each("+", place.controllers))
    except OSError as error:
        made.close()
        raise NotDelegated(f"control group {folder} hands no controllers on ({error.strerror})") from None
    return made


def _has(file: Path, controllers: Iterable[str]) -> bool:
    try:
        return set(controllers) <= set(file.read_text().split())
    except OSError:
        return False


def _each(sign: str, controllers: Iterable[str]) -> str:
    return " ".join(f"{sign}{name}" for name in controllers)
