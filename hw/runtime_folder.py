"""A system's runtime folder on the host: sockets, logs, the monitor's number, links to its pseudo-terminals, switches,
which control group its tasks have.

Only its user can enter it: that is what protects the management socket.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from pathlib import Path
from typing import Final

from hw.control_group import remove_recorded

SOCKET_PATH_LIMIT: Final = 107  # bytes, sockaddr_un
MADE: Final = ("management", "events", "monitor.pid")
SWITCHES: Final = "switches"  # a folder: where parts of a switch that is the system's own find each other


def prepare_folder(folder: Path) -> None:
    """Make the runtime folder, or take over one that an ended system has left; the caller knows that it has ended."""
    if len(os.fsencode(folder / "management")) > SOCKET_PATH_LIMIT:
        raise ValueError(f"{folder} is too long for a socket's address; choose a shorter runtime folder")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise PermissionError(
            f"{folder} is not a folder that only user {os.getuid()} can enter; remove it, or chmod 700"
        )
    for name in (*MADE, "image", *(path.name for path in folder.glob("console*"))):
        (folder / name).unlink(missing_ok=True)
    remove_recorded(folder)
    _remove_switches(folder)
    (folder / SWITCHES).mkdir(mode=0o700)
    logs = folder / "logs"
    if logs.is_symlink():
        raise PermissionError(f"{logs} is a link, and logs that it leads to would be removed; remove it")
    logs.mkdir(mode=0o700, exist_ok=True)
    for log in logs.glob("*.log"):
        if log.name != "monitor.log":  # a detached monitor's own output, open already
            log.unlink()


def clean_folder(folder: Path, keep_logs: bool) -> None:
    """Remove what a system made in its folder; with its logs also the folder, where nothing else is in it."""
    for name in (*MADE, *(path.name for path in folder.glob("console*"))):
        (folder / name).unlink(missing_ok=True)
    remove_recorded(folder)
    _remove_switches(folder)
    if not keep_logs:
        shutil.rmtree(folder / "logs", ignore_errors=True)
        with contextlib.suppress(OSError):
            folder.rmdir()


def _remove_switches(folder: Path) -> None:
    """What processes of a system that was killed have left there, too."""
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(folder / SWITCHES)
