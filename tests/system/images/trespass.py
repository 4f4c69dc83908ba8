"""Ways from one Linux process into another, tried one by one. Each returns if it worked, and raises OSError if not.

A hostile task tries them on every process of its system; the test tries them on a process of its own, where they work.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

DESCRIPTORS: Final = 64
SYS_PTRACE, SYS_PROCESS_VM_READV, SYS_PIDFD_GETFD = 101, 310, 438  # x86_64
PTRACE_SEIZE: Final = 0x4206
_libc: Final = ctypes.CDLL(None, use_errno=True)


class _IoVector(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


def _system_call(number: int, *arguments: int) -> int:
    result = int(_libc.syscall(number, *(ctypes.c_ulong(argument & (1 << 64) - 1) for argument in arguments)))
    if result < 0:
        raise OSError(ctypes.get_errno(), f"system call {number}")
    return result


def _open_any(folder: str) -> None:
    """Open any of a process's descriptors anew."""
    for number in range(DESCRIPTORS):
        try:
            os.close(os.open(f"{folder}/{number}", os.O_RDONLY | os.O_NONBLOCK))
        except OSError:
            continue
        return
    raise PermissionError(errno.EPERM, f"no descriptor in {folder} can be opened")


def open_descriptor(pid: int) -> None:
    _open_any(f"/proc/{pid}/fd")


def open_descriptor_of_thread(pid: int) -> None:
    _open_any(f"/proc/{pid}/task/{pid}/fd")


def read_link(pid: int) -> None:
    os.readlink(f"/proc/{pid}/fd/0")


def map_file(pid: int) -> None:
    os.listdir(f"/proc/{pid}/map_files")


def read_memory(pid: int) -> None:
    memory = os.open(f"/proc/{pid}/mem", os.O_RDONLY)
    os.close(memory)


def read_maps(pid: int) -> None:
    if not Path(f"/proc/{pid}/maps").read_text():
        raise PermissionError(errno.EPERM, "the maps are empty")


def steal_descriptor(pid: int) -> None:
    process = os.pidfd_open(pid)
    try:
        os.close(_system_call(SYS_PIDFD_GETFD, process, 0, 0))
    finally:
        os.close(process)


def steal_by_guess(pid: int) -> None:
    """As `steal_descriptor`, with every number that might be a pidfd already."""
    for number in range(DESCRIPTORS):
        try:
            os.close(_system_call(SYS_PIDFD_GETFD, number, 0, 0))
        except OSError:
            continue
        return
    steal_descriptor(pid)


def read_by_vector(pid: int) -> None:
    """One byte of its first mapping; where its maps cannot be read, of the C library, which tasks share by fork."""
    try:
        at = int(Path(f"/proc/{pid}/maps").read_text().partition("-")[0], 16)
    except (OSError, ValueError):
        at = ctypes.cast(_libc.syscall, ctypes.c_void_p).value or 0
    byte = ctypes.create_string_buffer(1)
    ours, theirs = _IoVector(ctypes.addressof(byte), 1), _IoVector(at, 1)
    _system_call(SYS_PROCESS_VM_READV, pid, ctypes.addressof(ours), 1, ctypes.addressof(theirs), 1, 0)


def trace(pid: int) -> None:
    _system_call(SYS_PTRACE, PTRACE_SEIZE, pid, 0, 0)


def signal_it(pid: int) -> None:
    os.kill(pid, 0)


WAYS: Final[tuple[Callable[[int], None], ...]] = (
    open_descriptor,
    open_descriptor_of_thread,
    read_link,
    map_file,
    read_memory,
    read_maps,
    steal_descriptor,
    steal_by_guess,
    read_by_vector,
    signal_it,
    trace,
)


DEADLY: Final = (steal_descriptor, steal_by_guess, read_by_vector, trace)
"""Those by host system calls that end the task that makes one."""


def worked(pid: int, ways: tuple[Callable[[int], None], ...] = WAYS) -> set[str]:
    """The names of the ways that led into the process."""
    found = set()
    for way in ways:
        try:
            way(pid)
        except OSError:
            continue
        found.add(way.__name__)
    return found
