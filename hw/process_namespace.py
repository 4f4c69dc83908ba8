"""A pid namespace for the tasks of a system, made by the process that is to fork them, which stays outside.

So whoever knows processes by the host's numbers goes on to do so: fork(2) returns them, pidfds and wait(2) take them.
In a task numbers mean something else: it finds the tasks of its system, and process 1; no number of its is the
kernel's, the monitor's, or that of any other process of the host.

Rules. Process 1 does nothing: it holds no descriptor, reaps what is left to it, and takes no signal from inside that it
has no handler for, not even SIGKILL (pid_namespaces(7)). It dies with its maker, and with it all tasks. Should it end
before, no further process can be made: its maker waits for its pidfd, and ends.
"""

from __future__ import annotations

import ctypes
import os
import signal
from typing import Final, NamedTuple, NoReturn

from hw import namespaces
from hw.child_answer import answer_of_child
from hw.parent_death import die_with_parent
from hw.waiting import wait_readable

_NEW_PID: Final = 0x20000000
_PR_SET_NAME: Final = 15
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 2, 4, 8
_NAME: Final = b"sel4py-first"
PARENT: Final = 0
"""What getppid(2) says in a process of the namespace that was forked from outside of it, while its parent lives."""

_libc = ctypes.CDLL(None, use_errno=True)


class First(NamedTuple):
    """Process 1. ``pidfd``: readable when it has ended. ``shown``: /proc shows the namespace's processes alone."""

    pidfd: int
    shown: bool


def enter(*, show_processes: bool) -> First | None:
    """Have each process that the caller forks from now on be in a new pid namespace. The caller stays where it is.

    Call it with one thread: Linux lets the caller start none after it.

    Args:
        show_processes: lay a new /proc over the one of the caller's mount namespace, which must be its own. Where the
        host does not let that be done (a container whose /proc has parts covered), the old one stays.
    Returns:
        None if the host permits no such namespace; nothing has changed then.
    Raises:
        OSError: the host has no process or descriptor left. The caller must then fork no other.
    """
    caller = os.pidfd_open(os.getpid())
    try:
        if _libc.unshare(_NEW_PID) != 0:
            return None
        told, tell = os.pipe2(os.O_CLOEXEC)
        first = os.fork()
        if first == 0:
            _be_first(caller, tell, show_processes)
        os.close(tell)
        shown = os.read(told, 1) == b"y"
        os.close(told)
        return First(os.pidfd_open(first), shown)
    finally:
        os.close(caller)


def _be_first(parent: int, tell: int, show_processes: bool) -> NoReturn:
    try:
        # What is left to it the host reaps.
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        die_with_parent(PARENT)  # which is said of one that is gone as well: so it is looked at
        _libc.prctl(_PR_SET_NAME, _NAME, 0, 0, 0)
        if not wait_readable(parent, 0):
            os.write(tell, b"y" if show_processes and _show_processes() else b"n")
            os.closerange(0, os.sysconf("SC_OPEN_MAX"))
            while True:
                signal.pause()
    finally:
        os._exit(1)


def _show_processes() -> bool:
    flags = ctypes.c_ulong(_MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
    return bool(_libc.mount(b"proc", b"/proc", b"proc", flags, None) == 0)


def permitted() -> tuple[bool, bool]:
    """Whether the host lets a system have one, as its zygote asks for it; and a /proc that shows it. In a child."""
    caller = os.getpid()

    def enter_all() -> bytes:
        refused = namespaces.enter(caller)
        first = enter(show_processes="mount" not in refused)
        return b"" if first is None else b"xy" if first.shown else b"x"

    words = answer_of_child(enter_all)
    return bool(words), words == b"xy"
