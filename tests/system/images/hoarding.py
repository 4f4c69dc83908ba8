"""Ways to get hold of more memory than a process may have, tried one by one.

Each holds as many bytes as it was asked for, every page of them written (or read, where that makes a page), and returns
what holds them; or raises OSError or MemoryError because it was refused.
"""

from __future__ import annotations

import _thread
import ctypes
import errno
import fcntl
import mmap
import os
import sys
import threading
from collections.abc import Callable
from typing import Final, TypeAlias

PAGE: Final = mmap.PAGESIZE
MEBIBYTE: Final = 1 << 20
PROT_READ, PROT_WRITE = mmap.PROT_READ, mmap.PROT_WRITE
MAP_FIXED, MAP_GROWSDOWN, MAP_NORESERVE, MREMAP_MAYMOVE = 0x10, 0x100, 0x4000, 1
HUGE: Final = 2 * MEBIBYTE
MADV_HUGEPAGE: Final = 14
_libc: Final = ctypes.CDLL(None, use_errno=True)
_libc.mmap.restype = _libc.mremap.restype = _libc.sbrk.restype = ctypes.c_void_p
_libc.mmap.argtypes = (
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_long,
)
_libc.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
_libc.mremap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int)
_libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
_libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
_libc.sbrk.argtypes = (ctypes.c_ssize_t,)
FAILED: Final = ctypes.c_void_p(-1).value


def _checked(result: int | None, what: str) -> int:
    if result is None or result == FAILED or result == -1:
        raise OSError(ctypes.get_errno(), what)
    return result


def _map(size: int, protection: int, flags: int, descriptor: int = -1) -> int:
    return _checked(_libc.mmap(None, size, protection, flags, descriptor, 0), "mmap")


def _touch(address: int, size: int) -> int:
    for at in range(address, address + size, PAGE):
        ctypes.c_char.from_address(at).value = b"x"
    return address


def _read(address: int, size: int) -> int:
    return sum(ctypes.c_ubyte.from_address(at).value for at in range(address, address + size, PAGE))


def an_object(size: int) -> object:
    return bytearray(size)


def small_objects(size: int) -> object:
    return [bytes(1000) for _ in range(size // 1000)]


def private_mapping(size: int) -> object:
    return _touch(_map(size, PROT_READ | PROT_WRITE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS), size)


def shared_mapping(size: int) -> object:
    memory = mmap.mmap(-1, size)
    for at in range(0, size, PAGE):
        memory[at] = 1
    return memory


def shared_mapping_with_more_flags(size: int) -> object:
    """The same, with flags beside those that say what it is."""
    flags = mmap.MAP_SHARED | mmap.MAP_ANONYMOUS | MAP_NORESERVE | mmap.MAP_POPULATE
    return _map(size, PROT_READ | PROT_WRITE, flags)


def stack_mapping(size: int) -> object:
    """What grows downwards counts as a stack, and not as data."""
    return _touch(_map(size, PROT_READ | PROT_WRITE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_GROWSDOWN), size)


def mapping_made_writable(size: int) -> object:
    address = _map(size, PROT_READ, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    _checked(_libc.mprotect(address, size, PROT_READ | PROT_WRITE), "mprotect")
    return _touch(address, size)


def mapping_laid_over_another(size: int) -> object:
    """What replaces as many pages as it brings is not counted: those of one that is only read are cheap."""
    address = _map(size, PROT_READ, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_FIXED
    laid = _libc.mmap(address, size, PROT_READ | PROT_WRITE, flags, -1, 0)
    return _touch(_checked(laid, "mmap"), size)


def mapping_moved(size: int) -> object:
    address = _map(PAGE, PROT_READ | PROT_WRITE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return _touch(_checked(_libc.mremap(address, PAGE, size, MREMAP_MAYMOVE), "mremap"), size)


def heap(size: int) -> object:
    start = _checked(_libc.sbrk(size), "sbrk")
    return _touch(start, size)


def copies_of_a_file(size: int) -> object:
    """Private mappings of a file, written to: each page becomes the process's own."""
    descriptor = os.open(sys.executable, os.O_RDONLY)
    held = []
    each = os.fstat(descriptor).st_size & -PAGE
    try:
        for _ in range(-(-size // each)):
            held.append(_touch(_map(each, PROT_READ | PROT_WRITE, mmap.MAP_PRIVATE, descriptor), each))
    except OSError:
        for address in held:
            _libc.munmap(address, each)
        raise
    return held


def zeroes_of_a_device(size: int) -> object:
    """/dev/zero, mapped privately and written to."""
    descriptor = os.open("/dev/zero", os.O_RDONLY)
    return _touch(_map(size, PROT_READ | PROT_WRITE, mmap.MAP_PRIVATE, descriptor), size)


def shared_zeroes_of_a_device(size: int) -> object:
    """/dev/zero, mapped shared: even reading makes pages."""
    descriptor = os.open("/dev/zero", os.O_RDONLY)
    return _read(_map(size, PROT_READ, mmap.MAP_SHARED, descriptor), size)


def nameless_file(size: int) -> object:
    descriptor = os.memfd_create("hoard")
    os.ftruncate(descriptor, size)
    return mmap.mmap(descriptor, size)


def file_in_memory(size: int) -> object:
    descriptor = os.open("/dev/shm/hoard", os.O_RDWR | os.O_CREAT, 0o600)
    os.write(descriptor, bytes(size))
    return descriptor


def system_v_memory(size: int) -> object:
    return _checked(_libc.shmget(0, size, 0o1600), "shmget")


def thread_stacks(size: int) -> object:
    """Of a few, the C library keeps those of threads that have ended: hence more than the size."""
    each = 8 * MEBIBYTE
    former = threading.stack_size(each)
    end = _thread.allocate_lock()
    end.acquire()

    def wait() -> None:
        with end:
            return

    try:
        for _ in range(size // each + 6):
            _thread.start_new_thread(wait, ())
    except RuntimeError as error:
        raise MemoryError(str(error)) from error
    finally:
        threading.stack_size(former)
        end.release()
    return end


def pipes(size: int) -> object:
    """Pipes with large buffers, filled."""
    held = []
    for _ in range(size // MEBIBYTE):
        reading, writing = os.pipe2(os.O_NONBLOCK)
        fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, MEBIBYTE)
        if os.write(writing, bytes(MEBIBYTE)) < MEBIBYTE:
            raise OSError(errno.ENOBUFS, "the pipe took less")
        held.append((reading, writing))
    return held


class _IoVector(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


def pages_in_pipes(size: int) -> object:
    """A byte of each huge page, put into a pipe without a copy: the page stays when its mapping goes."""
    held = []
    for _ in range(size // HUGE):
        address = _map(2 * HUGE, PROT_READ | PROT_WRITE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        huge = -(-address // HUGE) * HUGE
        _libc.madvise(huge, HUGE, MADV_HUGEPAGE)
        _touch(huge, HUGE)
        reading, writing = os.pipe()
        vector = _IoVector(huge, 1)
        _checked(_libc.vmsplice(writing, ctypes.byref(vector), 1, 0), "vmsplice")
        _libc.munmap(address, 2 * HUGE)
        held.append((reading, writing))
    return held


Way: TypeAlias = Callable[[int], object]
WAYS: Final[tuple[Way, ...]] = (
    an_object,
    small_objects,
    private_mapping,
    shared_mapping,
    shared_mapping_with_more_flags,
    stack_mapping,
    mapping_made_writable,
    mapping_laid_over_another,
    mapping_moved,
    heap,
    copies_of_a_file,
    zeroes_of_a_device,
    nameless_file,
    file_in_memory,
    system_v_memory,
    thread_stacks,
    pipes,
    pages_in_pipes,
)
