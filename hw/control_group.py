"""A control group of a system's own, which holds all its tasks together: to so many processes and so much memory.

What a task is held to is a limit of its process (hw/_cpu/sandbox.c), or what the kernel gives it. A group is for what
no limit of one process counts: processes and threads of the host of all tasks together, pages without an owner, what
the host itself keeps of them. A system as it should be never comes near (`Bounds`).

Rules. The monitor makes the group (control_group_places.py says where) and removes it; the zygote enters it, before all
else, and tasks are born there, so that no start is slower. Kernel, monitor and devices' helpers are not in it. Whoever
has made a group holds a lock on its folder (flock(2)) until it ends, however that comes about, so a group without that
is nobody's any more: the next system that is started there removes it, if it is empty. No other group is touched, and
no process but those that were born in one's own.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple, Self

from hw.control_group_places import PROCESSES, NotDelegated, Opened, Place, opened, own_places
from hw.waiting import wait_readable

PREFIX: Final = "sel4py-"
RECORD: Final = "control_group"  # in the runtime folder: the groups' folders, a line each
END_SECONDS: Final = 5.0
EMPTY_SECONDS: Final = 1.0
_LOOK_SECONDS: Final = 0.001

_KIB, _MIB = 1 << 10, 1 << 20
RAM_PER_THREAD: Final = 256 * _KIB
"""Of simulated RAM for each thread of the host's. A further thread of a process has a stack of 1 MiB, a process is of 4
MiB at least and has two threads besides: RAM has room for less than half of what is let be, and twice that may be there
for a moment, where those that end make way for others."""
FURTHER_THREADS: Final = 128  # the zygote, process 1, those ahead of need; and a small RAM's margin
PART_OF_NUMBERS: Final = 2
"""One system has half of the host's numbers of processes at most; the others are for who is to mend it."""
RAM_TIMES: Final = 2
"""A task's private memory, and the frames that it touches first, are paid for in RAM. Once for those that run, and once
for those whose memory the host is just taking down."""
LEAST_PROCESS: Final = 4 * _MIB  # of RAM: less, and Python loads nothing at all (deploy/sections.py)
BESIDE_PROCESS: Final = 16 * _MIB
"""What a process of that size has besides: what it shared with the zygote and has written to, 2 to 4 MiB; stacks that
are not counted, 8; tables and buffers of the host's, under 1. Rounded up."""
BESIDE_ALL: Final = 256 * _MIB
"""The zygote with what it has loaded, some 50 MiB; and logs, up to 64 MiB a task, where they lie in memory."""

_BIRTHS: Final = "pids.max"
_FILES: Final = {
    (1, "memory"): ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes"),
    (2, "memory"): ("memory.max", "memory.swap.max"),
    (1, "pids"): (_BIRTHS,),
    (2, "pids"): (_BIRTHS,),
}
"""By version and controller; further files only where the host has them."""


class Bounds(NamedTuple):
    """`processes`, and threads, of the host; `memory` in bytes, of all kinds that the host counts."""

    processes: int
    memory: int

    @classmethod
    def of(cls, ram_bytes: int, numbers: int = 0) -> Bounds:
        """For a system with so much RAM, on a host with so many ``numbers`` of processes; by default this host's."""
        processes = FURTHER_THREADS + ram_bytes // RAM_PER_THREAD
        beside = ram_bytes // LEAST_PROCESS * BESIDE_PROCESS
        numbers = numbers or _numbers()
        return cls(min(processes, numbers // PART_OF_NUMBERS), RAM_TIMES * ram_bytes + beside + BESIDE_ALL)


def _numbers() -> int:
    """Of processes and threads that the host has; without end where it does not say."""
    found = [sys.maxsize]
    for name in ("pid_max", "threads-max"):
        with suppress(OSError):
            found.append(int(Path("/proc/sys/kernel", name).read_text()))
    return min(found)


class ControlGroup:
    """A system's: a folder in each of the host's hierarchies. To be closed."""

    def __init__(self) -> None:
        self._places: list[Opened] = []
        self._folders: dict[Path, int] = {}  # with an open descriptor, which has the lock

    @classmethod
    def make(cls, name: str, bounds: Bounds, places: Iterable[Place] | None = None) -> Self:
        """One for the system of this name, which nobody is in. It removes those that others have left.

        Raises:
            NotDelegated: the caller can have none; nothing is left of it then.
        """
        group = cls()
        try:
            for place in own_places() if places is None else places:
                ready = opened(place)
                group._places.append(ready)
                sweep(ready.folder)
                folder = group._make_folder(ready.folder, name)
                for controller in place.controllers:
                    _bound(folder, place.version, controller, bounds)
        except OSError as error:
            group.close()
            raise NotDelegated(f"{error.filename or 'a control group'}: {error.strerror}") from None
        except NotDelegated:
            group.close()
            raise
        return group

    @property
    def folders(self) -> tuple[Path, ...]:
        """Those that a process enters by `enter`."""
        return tuple(self._folders)

    def close(self) -> str:
        """End what is left in it, and remove it. Returns what is to be said of it, "" if it is gone.

        Nothing that the host refuses keeps the caller from going on.
        """
        said = ""
        for folder in self._folders:
            with suppress(OSError):  # somebody has removed it already
                if (folder / _BIRTHS).exists():
                    (folder / _BIRTHS).write_text("0")  # whoever is left has no children any more
        for folder, descriptor in self._folders.items():
            try:
                _end_all(folder)
                _remove(folder, EMPTY_SECONDS)
            except OSError as error:
                said = f"control group {folder} stays ({error.strerror}); the next system that is started removes it"
            os.close(descriptor)
        self._folders.clear()
        for place in self._places:
            place.close()
        self._places.clear()
        return said

    def _make_folder(self, parent: Path, name: str) -> Path:
        while True:
            folder = parent / f"{PREFIX}{name}-{os.urandom(4).hex()}"
            try:
                folder.mkdir(mode=0o700)
            except FileExistsError:
                continue
            try:
                descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue  # swept, before it was locked
            self._folders[folder] = descriptor  # and so closed, whatever comes
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if folder.exists():
                return folder
            os.close(self._folders.pop(folder))


def enter(folders: Iterable[Path]) -> None:
    """Put the calling process, and whoever it forks from now on, into a group. Raises OSError."""
    for folder in folders:
        (folder / PROCESSES).write_text("0")


def sweep(parent: Path) -> list[Path]:
    """Remove the groups below this one whose monitor has ended, and which nobody is in; returns them."""
    return [folder for folder in sorted(parent.glob(f"{PREFIX}*")) if _remove_stray(folder, 0.0)]


def _remove_stray(folder: Path, seconds: float) -> bool:
    """``seconds``: for who is in it to end."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _remove(folder, seconds)
    except OSError:
        return False  # it has its monitor, or processes; or it is not ours to remove
    finally:
        os.close(descriptor)
    return True


def keep_record(runtime_folder: Path, group: ControlGroup) -> None:
    """Note in the system's runtime folder which groups it has, for who finds that after the monitor was killed."""
    (runtime_folder / RECORD).write_text("".join(f"{folder}\n" for folder in group.folders))


def remove_recorded(runtime_folder: Path) -> None:
    """Remove the groups of an ended system that left them, wherever it was started. The record goes with the last.

    Its processes end with its monitor, some moments after it.
    """
    record = runtime_folder / RECORD
    with suppress(FileNotFoundError):
        recorded = [Path(line) for line in record.read_text().splitlines()]
        for folder in recorded:
            if folder.name.startswith(PREFIX):
                _remove_stray(folder, EMPTY_SECONDS)
        if not any(folder.exists() for folder in recorded):
            record.unlink()


def _bound(folder: Path, version: int, controller: str, bounds: Bounds) -> None:
    limit = bounds.memory if controller == "memory" else bounds.processes
    first, *further = _FILES[version, controller]
    (folder / first).write_text(str(limit))
    for name in further:
        if (folder / name).exists():  # where the host counts what it has swapped out
            (folder / name).write_text(str(limit))


def _end_all(folder: Path) -> None:
    """Kill whoever is left: tasks that could leave their namespace, of a host that has none. Raises OSError."""
    deadline_s = time.monotonic() + END_SECONDS
    while pids := _members(folder):
        for pid in pids:
            _end(folder, pid, deadline_s)
        if time.monotonic() > deadline_s:
            return  # to remove it says so


def _members(folder: Path) -> list[int]:
    """None of a group that somebody has removed already."""
    with suppress(FileNotFoundError):
        return [int(line) for line in (folder / PROCESSES).read_text().split()]
    return []


def _end(folder: Path, pid: int, deadline_s: float) -> None:
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if pid in _members(folder):  # its number was not given to another process since
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            wait_readable(pidfd, deadline_s - time.monotonic())
    except ProcessLookupError:
        return
    finally:
        os.close(pidfd)


def _remove(folder: Path, seconds: float) -> None:
    """The host takes a process out of its group some time after it was waited for, and version 1 tells nobody."""
    deadline_s = time.monotonic() + seconds
    while True:
        try:
            folder.rmdir()
            return
        except FileNotFoundError:
            return
        except OSError:
            if time.monotonic() > deadline_s:
                raise
        time.sleep(_LOOK_SECONDS)
