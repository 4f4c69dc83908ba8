"""The runtime folder: one folder for each system of this user, and which of them run.

Rules: the folder is ours alone (mode 0700, our owner), or it is refused. A system runs as long as its monitor holds the
POSIX lock on the folder's ``lock`` file: the host drops the lock with the process, so a stale folder is never taken for
a running system, and the lock names its holder, so no process id is read from a file. The process that holds the lock
must not open that file again: closing any descriptor of it drops the lock (fcntl(2)).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
import stat
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deploy.answers import AnswerError
from deploy.names import NAME_PATTERN, NAME_RULE
from hw.runtime_folder import clean_folder
from hw.waiting import wait_readable

SOCKET_PATH_LIMIT: Final = 107  # bytes, sockaddr_un
_FLOCK: Final = struct.Struct("hhqqi4x")  # l_type, l_whence, l_start, l_len, l_pid


class RuntimeRefused(AnswerError):
    """The runtime folder cannot be used, or the named system is not there. The text says what would work."""


@dataclass(frozen=True)
class Running:
    """A running system. ``pid`` is that of its monitor."""

    name: str
    pid: int
    folder: Path


def runtime_folder() -> Path:
    """Where this user's systems keep their sockets and logs (it may not exist yet)."""
    if chosen := os.environ.get("SEL4PY_RUNTIME_DIR"):
        return Path(chosen).absolute()
    if session := _of_session("XDG_RUNTIME_DIR"):
        return session / "sel4py"
    return Path(f"/tmp/sel4py-{os.getuid()}")


def _of_session(variable: str) -> Path | None:
    """None if it is not set, or relative: that is to be ignored (XDG Base Directory Specification, "Basics")."""
    folder = os.environ.get(variable, "")
    return Path(folder) if os.path.isabs(folder) else None


def state_folder(name: str) -> Path:
    """Where a system that comes with sel4py keeps its disks, made if it is missing. Raises RuntimeRefused."""
    if chosen := os.environ.get("SEL4PY_STATE_DIR"):
        base = Path(chosen).absolute()
    elif kept := _of_session("XDG_STATE_HOME"):
        base = kept / "sel4py"
    else:
        home = Path.home()
        base = home / ".local" / "state" / "sel4py" if os.access(home, os.W_OK) else runtime_folder() / "state"
    ensure_private(base, "SEL4PY_STATE_DIR")
    ensure_private(base / name, "SEL4PY_STATE_DIR")
    return base / name


def ensure_private(folder: Path, variable: str = "SEL4PY_RUNTIME_DIR") -> None:
    """Makes ``folder`` if it is missing; the environment's ``variable`` can name another one.

    Raises RuntimeRefused unless it is a folder that only this user can enter.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise RuntimeRefused(f"{folder}: {error.strerror}; set {variable} to a folder of your own") from error
    if not stat.S_ISDIR(found.st_mode):
        raise RuntimeRefused(f"{folder} is no folder; remove it, or set {variable}")
    if found.st_uid != os.getuid():
        raise RuntimeRefused(f"{folder} belongs to user {found.st_uid}; set {variable} to a folder of your own")
    if found.st_mode & 0o077:
        mode = stat.S_IMODE(found.st_mode)
        raise RuntimeRefused(f"{folder} has mode {mode:04o}, so others can enter it; run: chmod 700 {folder}")


def system_folder(name: str) -> Path:
    """The folder of the system ``name``, made if it is missing. Raises RuntimeRefused."""
    if not NAME_PATTERN.fullmatch(name):
        raise RuntimeRefused(f"a system cannot be called {name!r}; {NAME_RULE}")
    folder = runtime_folder() / name
    if len(os.fsencode(folder / "management")) > SOCKET_PATH_LIMIT:
        raise RuntimeRefused(f"{folder} is too long for a socket's address; set SEL4PY_RUNTIME_DIR to a shorter one")
    ensure_private(folder.parent)
    ensure_private(folder)
    return folder


def take(folder: Path) -> int:
    """Takes the system's lock for this process, until it ends; returns the descriptor, which must stay open.

    Raises:
        RuntimeRefused: a system of that name is running.
    """
    lock = folder / "lock"
    while True:
        folder.mkdir(mode=0o700, exist_ok=True)
        try:
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except FileNotFoundError:
            continue
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # An ending system removes its lock while it holds it: what was locked may be nobody's lock any more.
            if lock.exists() and os.path.samestat(os.fstat(descriptor), lock.stat()):
                return descriptor
        except OSError as error:
            os.close(descriptor)
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                raise
            raise already_running(folder.name) from error
        os.close(descriptor)


def release(folder: Path, descriptor: int) -> None:
    """Gives up the lock that ``take`` returned, and removes it; with it the folder, if nothing else is left there."""
    (folder / "lock").unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        folder.rmdir()
    os.close(descriptor)


def already_running(name: str) -> RuntimeRefused:
    """The refusal to run two systems of one name."""
    remedy = (
        f"end it with `sel4py down --system {name}`, or start the other one by another name: `sel4py up --name NAME`"
    )
    return RuntimeRefused(f"a system named {name} is running already; {remedy}")


def running() -> list[Running]:
    """The systems of this user that run, by name. Raises RuntimeRefused if the runtime folder is not ours alone."""
    base = runtime_folder()
    if not base.exists():
        return []
    ensure_private(base)
    found = []
    for lock in sorted(base.glob("*/lock")):
        try:
            descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            continue
        try:
            if pid := _holder(descriptor):
                found.append(Running(lock.parent.name, pid, lock.parent))
        finally:
            os.close(descriptor)
    return found


def select_running(name: str | None) -> Running:
    """The running system ``name``, or without a name the only one. Raises RuntimeRefused if there is not one."""
    systems = running()
    names = [system.name for system in systems]
    if name is not None:
        for system in systems:
            if system.name == name:
                return system
        if not names:
            raise RuntimeRefused(f"no system named {name} is running, nor another; start one with `sel4py up SYSTEM`")
        raise RuntimeRefused(f"no system named {name} is running; running: {', '.join(names)}")
    if not systems:
        raise RuntimeRefused("no system is running; start one with `sel4py up SYSTEM`")
    if len(systems) > 1:
        raise RuntimeRefused(f"several systems are running; choose one with --system: {', '.join(names)}")
    return systems[0]


def wait_ended(system: Running, seconds: float) -> bool:
    """Waits until the system's monitor has ended; False if it still runs after ``seconds``."""
    try:
        descriptor = os.pidfd_open(system.pid)
    except ProcessLookupError:
        return True
    try:
        return wait_readable(descriptor, seconds)
    finally:
        os.close(descriptor)


def end_forcibly(system: Running) -> None:
    """Ends the system's monitor at once; all its processes end with it."""
    try:
        descriptor = os.pidfd_open(system.pid)
    except ProcessLookupError:
        return
    try:
        # The number may have been given to another process since it was read from the lock.
        if any(each == system for each in running()):
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    finally:
        os.close(descriptor)


def clean_after(system: Running) -> None:
    """Removes what a system that was ended forcibly could not remove itself; its logs stay."""
    try:
        lock = take(system.folder)
    except RuntimeRefused:
        return  # its name is in use again, and the new one has cleaned up
    try:
        clean_folder(system.folder, keep_logs=True)
    finally:
        release(system.folder, lock)


def _holder(descriptor: int) -> int:
    """The process that holds the lock, or 0. (fcntl(2), F_GETLK)"""
    asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    kind, _, _, _, pid = _FLOCK.unpack(fcntl.fcntl(descriptor, fcntl.F_GETLK, asked))
    return 0 if kind == fcntl.F_UNLCK else int(pid)
