"""A host without one system call: ``python -m tests.unit.deploy.without_call NAME PROGRAM ARGUMENTS…``."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys
from typing import Final

NUMBERS: Final = {
    "x86_64": {"pidfd_send_signal": 424, "close_range": 436, "timerfd_create": 283, "fallocate": 285},
    "aarch64": {"pidfd_send_signal": 424, "close_range": 436, "timerfd_create": 85, "fallocate": 47},
}
_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _FILTER = 22, 38, 2
_LOAD, _EQUALS, _RETURN = 0x20, 0x15, 0x06  # linux/bpf_common.h
_ERRNO, _ALLOW = 0x00050000, 0x7FFF0000


class _Program(ctypes.Structure):
    """struct sock_fprog"""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def leave_out(name: str) -> None:
    """From now on this process, and all that it becomes, has no such call."""
    steps = (
        (_LOAD, 0, 0, 0),  # the number, which a call's data begin with
        (_EQUALS, 0, 1, NUMBERS[platform.machine()][name]),
        (_RETURN, 0, 0, _ERRNO | errno.ENOSYS),
        (_RETURN, 0, 0, _ALLOW),
    )
    program = _Program(len(steps), b"".join(struct.pack("=HBBI", *step) for step in steps))
    libc = ctypes.CDLL(None, use_errno=True)
    for arguments in ((_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), (_PR_SET_SECCOMP, _FILTER, ctypes.byref(program), 0, 0)):
        if libc.prctl(*arguments) < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


if __name__ == "__main__":
    leave_out(sys.argv[1])
    os.execv(sys.argv[2], sys.argv[2:])
