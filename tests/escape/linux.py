"""The host's system calls, raw: what attempts are made of. Numbers are of x86_64; each call raises OSError."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import struct
from typing import Final

X32: Final = 0x40000000
IPC_RMID: Final = 0
AT_FDCWD: Final = -100
_TABLE: Final = """
read 0, write 1, open 2, mmap 9, mprotect 10, munmap 11, mremap 25, madvise 28, shmget 29, shmat 30, shmctl 31,
socket 41, clone 56, fork 57, kill 62, semget 64, semop 65, semctl 66, msgget 68, msgsnd 69, msgrcv 70, msgctl 71,
fcntl 72, truncate 76, creat 85, ptrace 101, syslog 103, capset 126, rt_sigqueueinfo 129, personality 135,
setpriority 141, sched_setscheduler 144, mlock 149, modify_ldt 154, pivot_root 155, prctl 157, setrlimit 160,
chroot 161, acct 163,
mount 165, umount2 166, swapon 167, sethostname 170, iopl 172, ioperm 173, init_module 175, quotactl 179,
tkill 200, futex 202, io_setup 206, remap_file_pages 216, timer_create 222, tgkill 234, mq_open 240, mq_unlink 241,
kexec_load 246, add_key 248, keyctl 250, ioprio_set 251, inotify_init 253, openat 257, unshare 272, vmsplice 278,
move_pages 279, timerfd_create 283, fallocate 285, tgsigqueueinfo 297, perf_event_open 298,
fanotify_init 300, prlimit64 302, name_to_handle_at 303, open_by_handle_at 304, clock_adjtime 305, setns 308,
process_vm_readv 310, process_vm_writev 311, kcmp 312, finit_module 313, sched_setattr 314, seccomp 317,
bpf 321, execveat 322, userfaultfd 323, pwritev2 328,
io_uring_setup 425, open_tree 428, move_mount 429, fsopen 430,
pidfd_open 434, clone3 435, openat2 437, pidfd_getfd 438, process_madvise 440, mount_setattr 442,
landlock_create_ruleset 444, memfd_secret 447, process_mrelease 448, fchmodat2 452
"""
NUMBERS: Final = {name: int(number) for name, number in (each.split() for each in _TABLE.split(","))}
_libc: Final = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def system_call(which: str | int, *arguments: int) -> int:
    """The result, of the host's own registers."""
    number = NUMBERS[which] if isinstance(which, str) else which
    result = int(_libc.syscall(ctypes.c_long(number), *(ctypes.c_ulong(each & (1 << 64) - 1) for each in arguments)))
    if result < 0:
        raise OSError(ctypes.get_errno(), f"system call {which}")
    return result


def prctl(option: int, *arguments: int, missing_is_fine: bool = False) -> int:
    """prctl(2); EINVAL, of a host that does not know the option, is 0 on wish."""
    try:
        return system_call("prctl", option, *(*arguments, 0, 0, 0, 0)[:4])
    except OSError:
        if missing_is_fine:
            return 0
        raise


_kept: list[object] = []  # what addresses were taken of


def buffer(data: bytes | int) -> int:
    """The address of a copy of the bytes (of so many zeroes), which lasts as long as the process."""
    made = ctypes.create_string_buffer(data, data if isinstance(data, int) else len(data))
    _kept.append(made)
    return ctypes.addressof(made)


def text(value: str) -> int:
    return buffer(value.encode() + b"\0")


def bytes_at(address: int, count: int) -> bytes:
    return ctypes.string_at(address, count)


def vector(address: int, count: int) -> int:
    """A struct iovec of one part."""
    return buffer(struct.pack("<QQ", address, count))


def memory(size: int, protection: int = mmap.PROT_READ | mmap.PROT_WRITE) -> int:
    """Private memory of the process's own; its address."""
    return system_call("mmap", 0, size, protection, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)


def run_code(code: bytes) -> int:
    """Carry out machine code, which returns a word in rax. Raises OSError where memory cannot be executed."""
    place = memory(4096)
    ctypes.memmove(place, code, len(code))
    system_call("mprotect", place, 4096, mmap.PROT_READ | mmap.PROT_EXEC)
    function = ctypes.CFUNCTYPE(ctypes.c_long)(place)
    result = int(function())
    if -4096 < result < 0:
        raise OSError(-result, "machine code")
    return result


def old_call(number: int, *arguments: int) -> int:
    """A call by int 0x80, in numbers of i386: ebx, ecx, edx, each of 32 bits."""
    first, second, third = (*arguments, 0, 0, 0)[:3]
    code = b"\x53"  # push rbx
    for opcode, value in ((b"\xb8", number), (b"\xbb", first), (b"\xb9", second), (b"\xba", third)):
        code += opcode + struct.pack("<I", value & 0xFFFFFFFF)
    code += b"\x31\xf6"  # xor esi, esi
    code += b"\xcd\x80" + b"\x5b" + b"\x48\x98" + b"\xc3"  # int 0x80; pop rbx; cdqe; ret
    return run_code(code)


def low_memory(size: int = 4096) -> int:
    """Memory below 4 GiB, which calls of 32 bits can point to."""
    map_32bit = 0x40
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | map_32bit
    return system_call("mmap", 0, size, mmap.PROT_READ | mmap.PROT_WRITE, flags, -1, 0)


def read_all(descriptor: int) -> bytes:
    """The first bytes of what is open there, which is closed."""
    try:
        return os.read(descriptor, 4096)
    finally:
        os.close(descriptor)


def wait_child(pid: int) -> int:
    """The exit status of a child; raises OSError if it did not end by itself."""
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


REFUSALS: Final = (errno.EPERM, errno.EACCES, errno.ENOSYS)


def is_reached(which: str | int, *arguments: int) -> bool:
    """Whether the host looked at the arguments of a call, which are such that it does nothing.

    Raises:
        OSError: it refused the call itself.
    """
    try:
        system_call(which, *arguments)
    except OSError as error:
        if error.errno in REFUSALS:
            raise
    return True


def shared_mapping(size: int = 4096, protection: int = 3) -> int:
    """The address of a shared mapping of a memory file that is open to be read and written.

    Raises:
        OSError: the host makes none.
    """
    made = os.memfd_create("shared")
    os.ftruncate(made, size)
    return system_call("mmap", 0, size, protection, mmap.MAP_SHARED, made, 0)
