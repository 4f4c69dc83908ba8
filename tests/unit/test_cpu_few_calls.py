"""Once it runs, a plain task needs eight host system calls: with a filter of just these it goes on, to its end.

The filter is the test's own: every other call ends the process, but for those of the C library's allocator that it does
without when they fail.
"""

from __future__ import annotations

import ctypes
import gc
import os
import platform
import signal
import struct
import time
from typing import Any

import pytest

from hw import cpu
from hw.host_calls import number_of
from libsel4py import abi
from tests.unit.cpu_peer import running, serve_echo

NEEDED = ("futex", "futex_waitv", "write", "recvmsg", "mmap", "munmap", "rt_sigreturn", "exit_group")
CALLS = 1000
LIBC = ctypes.CDLL(None, use_errno=True)
RET, JEQ, LOAD = 0x06, 0x15, 0x20
ALLOW, KILL = 0x7FFF0000, 0x80000000
REFUSED = {"brk": 0x00050000, "madvise": 0x00050001, "mprotect": 0x00050001}  # brk says by the old end that it failed
SECCOMP = {"x86_64": 317, "aarch64": 277}

pytestmark = pytest.mark.skipif(platform.machine() not in SECCOMP, reason="the numbers are not known")


def narrow(calls: tuple[str, ...]) -> None:
    """Put all threads of this process under a filter that lets these calls pass alone."""
    code = [(LOAD, 0, 0, 0)]
    for name, answer in (*((name, ALLOW) for name in calls), *REFUSED.items()):
        number = number_of(name)
        assert number is not None
        code += [(JEQ, 0, 1, number), (RET, 0, 0, answer)]
    code.append((RET, 0, 0, KILL))
    program = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *each) for each in code))
    head = struct.pack("=H6xQ", len(code), ctypes.addressof(program))
    assert LIBC.prctl(38, 1, 0, 0, 0) == 0
    assert LIBC.syscall(ctypes.c_long(SECCOMP[platform.machine()]), 1, 1, head) == 0, os.strerror(ctypes.get_errno())


def live() -> int:
    """What a plain task does: it calls and waits, takes memory and gives it back, reads clocks, writes to its log."""
    for number in range(CALLS):
        assert cpu.trap(abi.Syscall.CALL, number, 0, 0, 0, 0, 0)[1] == number
        if number % 100 == 0:
            assert len(bytearray(1 << 20)) == 1 << 20
            assert len([object() for _ in range(10_000)]) == 10_000
            assert time.monotonic() > 0
            gc.collect()
            os.write(2, b"")
    return CALLS


@pytest.mark.parametrize("left_out", ["", "futex", "write"])
def test_eight_host_calls_are_enough(left_out: str) -> None:
    assert len(NEEDED) <= 8

    def enter_and_live() -> Any:
        cpu.trap(abi.Syscall.CALL, 0, 0, 0, 0, 0, 0)
        gc.collect()  # what this process has from its parent, and would close
        narrow(tuple(each for each in NEEDED if each != left_out))
        return live()

    with running(enter_and_live, with_keeper=True) as (peer, task):
        first = peer.wait_entry(task)
        assert first is not None
        assert task.ask(abi.ControlOp.UNPARK) == 0  # so its keeper runs
        peer.echo(first)
        serve_echo(peer, task)
        if left_out:
            assert os.WTERMSIG(task.reap()) == signal.SIGSYS
        else:
            assert task.result() == CALLS
