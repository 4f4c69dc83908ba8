"""The filter of host system calls: what it denies, and what ends the process. The rest: test_cpu_sandbox_inside.py.

Each denied thing is tried twice, in the same forked process: before, where it must not fail with the sandbox's error
(or the test could not fail), and after.
"""

import ctypes
import errno
import fcntl
import mmap
import os
import platform
import resource
import signal
import socket
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from hw import cpu
from libsel4py import abi
from tests.unit.cpu_peer import running, share, tried

LIBC = ctypes.CDLL(None, use_errno=True)
X86 = platform.machine() == "x86_64"
MEBIBYTE = 1 << 20
CALL, RECV = abi.Syscall.CALL, abi.Syscall.RECV


def host_call(number: int, *arguments: Any) -> int:
    """A raw host system call; raises OSError."""
    result = LIBC.syscall(ctypes.c_long(number), *[ctypes.c_long(argument) for argument in arguments])
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return int(result)


def spawn() -> None:
    os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)


def fork() -> None:
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)


def seal() -> None:
    fcntl.fcntl(MEMORY, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW)


PAIR = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
MEMORY = os.memfd_create("memory", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
share(MEMORY, *(end.fileno() for end in PAIR))

DENIED: dict[str, Callable[[], Any]] = {
    "socket": lambda: socket.socket().close(),
    "socketpair": lambda: socket.socketpair()[0].close(),
    "connect": lambda: PAIR[0].connect(b"\0nobody"),
    "send": lambda: PAIR[0].send(b"x"),
    "sendmsg": lambda: PAIR[0].sendmsg([b"x"]),
    "receive": lambda: PAIR[0].recv(1, socket.MSG_DONTWAIT),
    "receive descriptors": lambda: PAIR[0].recvmsg(1, 64, socket.MSG_DONTWAIT),
    "fork": fork,
    "spawn": spawn,
    "run": lambda: subprocess.run(["/bin/true"], check=True),
    "exec": lambda: os.execv("/nowhere/at/all", ["x"]),
    "kill oneself": lambda: os.kill(os.getpid(), 0),
    "kill the parent": lambda: os.kill(os.getppid(), 0),
    "pidfd": lambda: os.close(os.pidfd_open(os.getpid())),
    "open to write": lambda: os.close(os.open("/dev/null", os.O_WRONLY)),
    "open to read and write": lambda: os.close(os.open("/dev/null", os.O_RDWR)),
    "create": lambda: open("/dev/null", "w").close(),
    "append": lambda: open("/dev/null", "a").close(),
    "own memory file": lambda: open("/proc/self/mem", "r+b").close(),
    "remove": lambda: os.unlink("/nowhere/at/all"),
    "rename": lambda: os.rename("/nowhere/at/all", "/nowhere/else"),
    "make a directory": lambda: os.mkdir("/nowhere/at/all"),
    "make a link": lambda: os.symlink("/nowhere", "/nowhere/at/all"),
    "change a mode": lambda: os.fchmod(MEMORY, 0o600),
    "truncate": lambda: os.ftruncate(MEMORY, 8192),
    "allocate": lambda: os.posix_fallocate(MEMORY, 0, 4096),
    "memfd": lambda: os.close(os.memfd_create("x")),
    "seal": seal,
    "priority": lambda: os.setpriority(os.PRIO_PROCESS, 0, os.getpriority(os.PRIO_PROCESS, 0)),
    "affinity": lambda: os.sched_setaffinity(0, os.sched_getaffinity(0)),
    "session": lambda: os.setpgid(0, 0),
    "handler of the park signal": lambda: signal.signal(signal.SIGURG, signal.SIG_IGN),
    "dumpable": lambda: prctl(4, 1),
    "no death signal": lambda: prctl(1, 0),
}


def prctl(option: int, value: int) -> None:
    if LIBC.prctl(option, value, 0, 0, 0) < 0:
        raise OSError(ctypes.get_errno(), "prctl")


# By number, for what Python has no name for; arguments that a permitted call would refuse otherwise, or harmless ones.
NUMBERS: dict[str, tuple[int, ...]] = {
    "tgkill of another process": (234, 1, 1, 0),
    "io_uring_setup": (425, 0, 0),
    "mremap": (25, 0, 0, 0, 0, 0),
    "prlimit64 that sets": (302, 0, resource.RLIMIT_NOFILE, 8, 0),
    "prlimit64 of another process": (302, 999_999, resource.RLIMIT_NOFILE, 0, 0),
    "shmget": (29, 0, 0, 0),
    "creat": (85, 0, 0),
    "clone of a process": (56, 0x10000000, 0, 0, 0, 0),
    "a thread that is not like pthread_create's": (56, 0x3D0F00 | 0x2000, 0, 0, 0, 0),
    "a lock that lends priority": (202, 0, 6, 0, 0, 0, 0),
    "pages that are given up for all": (28, 0, 4096, 9),
    "pages that are compared with others'": (28, 0, 4096, 12),
    "a filter of its own": (317, 1, 0, 0),
}

# As above: what no ordinary program asks for.
DEADLY: dict[str, tuple[int, ...]] = {
    "ptrace": (101, 999),
    "process_vm_readv": (310, 0, 0, 0, 0, 0, 0),
    "process_vm_writev": (311, 0, 0, 0, 0, 0, 0),
    "rt_sigqueueinfo": (129, 0, 0, 0),
    "pidfd_getfd": (438, -1, 0, 0),
    "io_uring_enter": (426, -1, 0, 0, 0, 0, 0),
    "userfaultfd": (323, 0xFFFF),
    "bpf": (321, 999, 0, 0),
    "perf_event_open": (298, 0, 0, 0, 0, 0),
    "keyctl": (250, 999),
    "mount": (165, 0, 0, 0, 0, 0),
    "unshare": (272, 0),
    "setns": (308, -1, 0),
    "capset": (126, 0, 0),
    "chroot": (161, 0),
    "a number that nothing has": (400, 0),
}


def before_and_after(attempt: Callable[[], Any], first: bool = True) -> tuple[int, int]:
    before = tried(attempt) if first else 0
    cpu.enter_sandbox()
    return before, tried(attempt)


@pytest.mark.parametrize("name", DENIED)
def test_it_is_denied(name: str) -> None:
    with running(lambda: before_and_after(DENIED[name])) as (_, task):
        before, after = task.result()
        assert before != errno.EPERM
        assert after == errno.EPERM


@pytest.mark.skipif(not X86, reason="the numbers are x86_64's")
@pytest.mark.parametrize("name", NUMBERS)
def test_it_is_denied_by_number(name: str) -> None:
    number, *arguments = NUMBERS[name]
    wild = name.startswith(("clone", "a thread", "a filter", "pages", "a lock"))
    with running(lambda: before_and_after(lambda: host_call(number, *arguments), not wild)) as (_, task):
        before, after = task.result()
        assert before != errno.EPERM or name == "tgkill of another process"
        assert after == errno.EPERM


@pytest.mark.skipif(not X86, reason="the numbers are x86_64's")
@pytest.mark.parametrize(("number", "error"), [(435, errno.ENOSYS), (437, errno.ENOSYS), (1000, errno.ENOSYS)])
def test_clone3_openat2_and_the_future_do_not_exist(number: int, error: int) -> None:
    with running(lambda: before_and_after(lambda: host_call(number, 0, 0, 0), number < 1000)) as (_, task):
        before, after = task.result()
        assert before != error
        assert after == error


@pytest.mark.skipif(not X86, reason="the numbers are x86_64's")
@pytest.mark.parametrize("name", DEADLY)
def test_it_ends_the_process(name: str) -> None:
    number, *arguments = DEADLY[name]
    with running(lambda: before_and_after(lambda: host_call(number, *arguments))) as (_, task):
        assert os.WTERMSIG(task.reap()) == signal.SIGSYS


def test_loosened_calls_pass() -> None:
    def enter_loosened() -> tuple[int, int]:
        numbers = {"socket": (41, 198), "ptrace": (101, 117)}
        cpu.enter_sandbox(loosened=[each[not X86] for each in numbers.values()])
        return tried(lambda: socket.socket().close()), tried(lambda: host_call(numbers["ptrace"][not X86], 999))

    with running(enter_loosened) as (_, task):
        assert task.result() == (0, errno.ESRCH)


@pytest.mark.skipif(not X86, reason="x32 is x86_64's")
def test_the_x32_convention_ends_the_process() -> None:
    with running(lambda: before_and_after(lambda: host_call(0x40000000 | 39))) as (_, task):
        assert os.WTERMSIG(task.reap()) == signal.SIGSYS


@pytest.mark.skipif(not X86, reason="32-bit calls are x86_64's")
def test_the_32_bit_convention_ends_the_process() -> None:
    code = bytes.fromhex("53b814000000cd805bc3")  # push rbx; mov eax, 20 (getpid); int 0x80; pop rbx; ret

    def enter_and_call() -> None:
        page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        page.write(code)
        call = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
        cpu.enter_sandbox()
        call()

    with running(enter_and_call) as (_, task):
        assert os.WTERMSIG(task.reap()) == signal.SIGSYS
