"""The host's namespaces that all tasks of a system share: entered once, by the process that is to fork them.

In them a task finds no network device, no queue or semaphore of others, no name of the host, no mount that it could
change, and its control group as the root; and what capabilities it might get hold of are none of the host's. Each is a
second layer: that a task may not ask for any of this is the filter's matter, and for files Landlock's.

What a host does not permit is left out, and named. Processes have the host's numbers: the kernel and its tools know
tasks by them.
"""

from __future__ import annotations

import ctypes
import os
import signal
from pathlib import Path
from typing import Final, NoReturn

from hw.parent_death import die_with_parent

_USER: Final = 0x10000000
_OTHERS: Final = {
    "net": 0x40000000,
    "mount": 0x00020000,
    "ipc": 0x08000000,
    "uts": 0x04000000,
    "cgroup": 0x02000000,
}
NAMES: Final = ("user", *_OTHERS)
_MS_REC, _MS_PRIVATE = 1 << 14, 1 << 18
_HOST_NAME: Final = b"sel4py"

_libc = ctypes.CDLL(None, use_errno=True)


def enter(parent: int) -> list[str]:
    """Enter all namespaces that the host permits. Call it before all else, in a process with one thread.

    Where a user namespace is to be had, but not to be used, a child of the calling process goes on in its place, and
    the caller waits for it and ends as it does.

    Args:
        parent: the caller's; it must have asked already to die with it.
    Returns:
        The names of those that the host refused.
    """
    refused = [] if _unshare_user(parent) else ["user"]
    entered = [name for name, flag in _OTHERS.items() if _libc.unshare(flag) == 0]
    if "mount" in entered:
        _libc.mount(b"none", b"/", None, ctypes.c_ulong(_MS_REC | _MS_PRIVATE), None)
    if "uts" in entered:
        _libc.sethostname(_HOST_NAME, len(_HOST_NAME))
    return refused + [name for name in _OTHERS if name not in entered]


def _unshare_user(parent: int) -> bool:
    """A user namespace in which every number means what it means outside. Only a process outside may say that.

    Where that one may not, it goes on itself: the caller could make no file.
    """
    caller = os.getpid()
    told, tell = os.pipe2(os.O_CLOEXEC)
    heard, say = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if child == 0:
        os.close(tell)
        if not os.read(told, 1):
            os._exit(0)
        mapped = _map_numbers(caller)
        os.write(say, b"y" if mapped else b"n")
        if mapped:
            os._exit(0)
        die_with_parent(caller)
        return False
    made = bool(_libc.unshare(_USER) == 0)
    if made:
        os.write(tell, b"x")
    os.close(tell)
    os.close(say)
    if made and os.read(heard, 1) != b"y":
        _end_as(child)
    os.waitpid(child, 0)
    os.close(told)
    os.close(heard)
    die_with_parent(parent)  # new credentials may have made the host forget it
    return made


def _map_numbers(pid: int) -> bool:
    folder = Path(f"/proc/{pid}")
    try:
        if os.geteuid():
            (folder / "setgroups").write_text("deny")
            (folder / "uid_map").write_text(f"{os.geteuid()} {os.geteuid()} 1\n")
            (folder / "gid_map").write_text(f"{os.getegid()} {os.getegid()} 1\n")
        else:
            for name in ("uid_map", "gid_map"):
                lines = [each.split() for each in Path("/proc/self", name).read_text().splitlines()]
                (folder / name).write_text("".join(f"{inside} {inside} {count}\n" for inside, _, count in lines))
    except OSError:
        return False
    return True


def _end_as(child: int) -> NoReturn:
    """Wait for the child, and end with its status. It dies with this process."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    os._exit(code if code >= 0 else 128 - code)
