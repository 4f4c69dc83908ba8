"""The few Linux calls that Python's standard library lacks. None is on a hot path: ctypes costs 0.3 us a call."""

from __future__ import annotations

import ctypes
import os
import time
from typing import Final

PR_SET_NAME: Final = 15
_PF_EXITING: Final = 4
_STOPPED: Final = (b"T", b"t", b"Z", b"X")
_ABSOLUTE: Final = 1
MOST_THREADS: Final = 64
LOOKED_AT: Final = 8  # threads at a time: some 100 us
_STATE, _FLAGS, _THREADS, _MEMORY, _CODE, _EXIT_CODE = 0, 6, 17, 20, 23, 49  # of the fields behind the name
_LISTINGS: Final = 3  # a list ends early where a thread goes while it is made
_NOT_TOLD: Final = 1  # where a program's code begins, for those who may not know

_libc = ctypes.CDLL(None, use_errno=True)


def set_process_name(name: str) -> None:
    """What ps(1) shows, cut to 15 bytes."""
    _checked(_libc.prctl(PR_SET_NAME, name.encode()[:15], 0, 0, 0), "prctl(PR_SET_NAME)")


def processor_time_us(pid: int) -> int:
    """Processor time of another process, in microseconds; 0 once it has ended. clock_getcpuclockid(3)."""
    try:
        return time.clock_gettime_ns(~pid << 3 | 2) // 1000
    except OSError:
        return 0


def make_timer() -> int:
    """A descriptor that can be read once the time has come that it was set to. timerfd_create(2)."""
    descriptor = _libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
    _checked(descriptor, "timerfd_create")
    return int(descriptor)


def set_timer(descriptor: int, at_us: int) -> None:
    """Set it to a time of CLOCK_MONOTONIC, in microseconds and not 0: a time that has been comes at once."""
    seconds, microseconds = divmod(at_us, 1_000_000)
    at = (ctypes.c_long * 4)(0, 0, seconds, microseconds * 1000)
    _checked(_libc.timerfd_settime(descriptor, _ABSOLUTE, ctypes.byref(at), None), "timerfd_settime")


def host_thread(pid: int, tid: int) -> int:
    """The number here of a thread that calls itself ``tid`` in its own pid namespace; proc(5), NSpid.

    0 if it is none of that process's threads, or none of the `MOST_THREADS` youngest.
    """
    try:
        threads = sorted(map(int, os.listdir(f"/proc/{pid}/task")), reverse=True)
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((each for each in threads[:MOST_THREADS] if _own_number(pid, each) == tid), 0)


def _own_number(pid: int, thread: int) -> int:
    """What the thread of this number is called in its own namespace; 0 if it has ended."""
    try:
        with open(f"/proc/{pid}/task/{thread}/status", "rb") as file:
            text = file.read()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    _, found, rest = text.partition(b"\nNSpid:")
    # A host without pid namespaces has one number for each.
    return int(rest.partition(b"\n")[0].split()[-1]) if found else thread


def runs_no_more(pid: int) -> bool:
    """Whether every thread of a process is past the last line of its program that it will ever run: it is ending
    (PF_EXITING), though its memory is not taken down yet, or it is gone. Linux, include/linux/sched.h, proc(5).

    Certain of one that was killed before this was called. Another may begin a thread while its threads are looked at.
    """
    for _ in range(_LISTINGS):
        first = _stat(f"/proc/{pid}/stat")
        if not first:
            return True
        if not _is_exiting(first):
            return False
        # Counted before they are listed: of one that was killed they only become fewer, so no other is among so many.
        if (count := int(first[_THREADS])) <= 1:
            return True
        seen = 0
        for tid in _threads(pid):
            if fields := _stat(f"/proc/{pid}/task/{tid}/stat"):
                if not _is_exiting(fields):
                    return False
                seen += 1
        if seen == count:
            return True
    return False


class Stopping:
    """A process to which SIGSTOP was sent, as long as it is not let go on: the host stops a thread when that comes to
    look, which it tells the process's parent alone. None begins another once the signal is there, and which was seen
    to be stopped stays so: each is looked at until then, some at a time, since a task may have thousands."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._left: list[str] | None = None  # threads that were not seen to be stopped

    def look(self) -> bool | None:
        """Whether no thread runs, or it is gone. None: none was found that does, and there are more to look at."""
        if self._left is None:
            first, threads = _stat(f"/proc/{self._pid}/stat"), _threads(self._pid)
            if not first:
                return True
            if len(threads) < int(first[_THREADS]):
                return False
            self._left = threads
        for _ in range(min(len(self._left), LOOKED_AT)):
            state = _stat(f"/proc/{self._pid}/task/{self._left[-1]}/stat")
            if state and state[_STATE] not in _STOPPED:
                return False
            self._left.pop()
        return None if self._left else True


def is_stopped(pid: int) -> bool:
    """Whether no thread of a process runs, of one to which SIGSTOP was sent or that is gone."""
    process = Stopping(pid)
    while (stopped := process.look()) is None:
        continue
    return stopped


def tells_wait_status(pid: int) -> bool | None:
    """Whether the host would tell the caller how a process like this one ends; None: this one has no memory any more.

    ptrace(2), access mode PTRACE_MODE_READ_FSCREDS: the same for all of one user that hide their memory alike.
    """
    fields = _stat(f"/proc/{pid}/stat")
    return int(fields[_CODE]) != _NOT_TOLD if fields and int(fields[_MEMORY]) else None


def wait_status_of_ending(pid: int) -> int | None:
    """The wait status of a process that ends and is not reaped, as `tells_wait_status`; 0 where the host does not tell.

    None while it is not known yet, or not any more. Linux, do_exit(): a thread's status is set before it lets go of its
    memory, and is 0 until then.
    """
    fields = _stat(f"/proc/{pid}/stat")
    return None if not fields or int(fields[_MEMORY]) else int(fields[_EXIT_CODE])


def look_ahead(pid: int) -> None:
    """Have Linux make ready what the two above look at: the first look takes five times as long as a later one."""
    runs_no_more(pid)
    wait_status_of_ending(pid)


def _threads(pid: int) -> list[str]:
    try:
        return os.listdir(f"/proc/{pid}/task")
    except (FileNotFoundError, ProcessLookupError):
        return []


def _is_exiting(fields: list[bytes]) -> bool:
    return bool(int(fields[_FLAGS]) & _PF_EXITING)


def _stat(path: str) -> list[bytes]:
    """The fields behind the name, none if there is no such process or thread. proc(5)."""
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _checked(result: int, what: str) -> None:
    if result < 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")
