"""What this host gives sel4py: each feature is tried, not looked up by version.

Rules: a probe changes nothing that outlives it; a probe that needs a change of this process makes it in a child.
"""

from __future__ import annotations

import ctypes
import fcntl
import importlib
import mmap
import os
import platform
import resource
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

_FUTEX: Final = {"x86_64": 202, "aarch64": 98}
_SECCOMP: Final = {"x86_64": 317, "aarch64": 277}
_LANDLOCK_CREATE_RULESET: Final = 444  # the same on every architecture, as all since 2019
_FUTEX_WAITV: Final = 449
_CLOSE_RANGE: Final = 436
_NO_DESCRIPTOR: Final = 0xFFFFFFFF
_FALLOC_HOLE: Final = 3  # FALLOC_FL_KEEP_SIZE and FALLOC_FL_PUNCH_HOLE
_LANDLOCK_VERSION: Final = 1
_SECCOMP_GET_ACTION_AVAIL: Final = 2
_SECCOMP_RET_KILL_PROCESS: Final = 0x80000000
_SECCOMP_RET_USER_NOTIF: Final = 0x7FC00000
_FUTEX_WAKE: Final = 1
_PR_GET_NO_NEW_PRIVS: Final = 39
_PR_CAPBSET_READ: Final = 23
_PR_GET_DUMPABLE: Final = 3
_SEALS: Final = fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
_RAM: Final = 256 << 20  # of a system that its description gives none
_DESCRIPTORS: Final = 4096  # a doorbell, a control socket and a trap frame a task, with room for a thousand tasks

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Finding:
    """One feature of the host. ``purpose`` says what it is for, or which attack it stops."""

    feature: str
    found: bool
    required: bool
    detail: str
    purpose: str


@dataclass(frozen=True)
class _Probe:
    feature: str
    required: bool
    purpose: str
    look: Callable[[], tuple[bool, str]]


def findings() -> Iterator[Finding]:
    """Tries every feature. A probe that the host refuses counts as not found, with the host's reason."""
    for probe in _PROBES:
        try:
            found, detail = probe.look()
        except (OSError, ImportError, AttributeError, KeyError) as error:
            found, detail = False, str(error)
        yield Finding(probe.feature, found, probe.required, detail, probe.purpose)


def _system_call(number: int, *arguments: object) -> int:
    """The result of a raw system call. Raises OSError."""
    result: int = _libc.syscall(ctypes.c_long(number), *arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def _python() -> tuple[bool, str]:
    return sys.version_info >= (3, 11), platform.python_version()


def _extension(name: str) -> Callable[[], tuple[bool, str]]:
    def look() -> tuple[bool, str]:
        module = importlib.import_module(name)
        return True, os.path.basename(module.__file__ or name)

    return look


def _lwip() -> tuple[bool, str]:
    stack = importlib.import_module("servers.network.stack")
    if stack.is_built():
        return True, "built"
    return False, "not built: make build says why; LWIP_SOURCE names a folder that has its source"


def _memfd() -> tuple[bool, str]:
    descriptor = os.memfd_create("sel4py-doctor", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(descriptor, 1 << 32)
        return True, "a sparse 4 GiB file"
    finally:
        os.close(descriptor)


def _seals() -> tuple[bool, str]:
    descriptor = os.memfd_create("sel4py-doctor", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
        return fcntl.fcntl(descriptor, fcntl.F_GET_SEALS) == _SEALS, "grow, seal"
    finally:
        os.close(descriptor)


def _futex() -> tuple[bool, str]:
    word = ctypes.c_uint32(0)
    woken = _system_call(_FUTEX[platform.machine()], ctypes.byref(word), _FUTEX_WAKE, 1, None, None, 0)
    return woken == 0, "wake of nobody"


def _futex_waitv() -> tuple[bool, str]:
    try:
        _system_call(_FUTEX_WAITV, None, 0, 0, None, 0)
    except OSError as error:
        # The call refuses no words at all; a host without it does not know the number.
        return error.errno == 22, os.strerror(error.errno or 0) if error.errno != 22 else "present"
    return True, "present"


def _seccomp_action(action: int) -> Callable[[], tuple[bool, str]]:
    def look() -> tuple[bool, str]:
        word = ctypes.c_uint32(action)
        _system_call(_SECCOMP[platform.machine()], _SECCOMP_GET_ACTION_AVAIL, 0, ctypes.byref(word))
        return True, "action available"

    return look


def _no_new_privileges() -> tuple[bool, str]:
    return _libc.prctl(_PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) >= 0, "prctl"


def _landlock() -> tuple[bool, str]:
    abi = _system_call(_LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_LANDLOCK_VERSION))
    return abi >= 1, f"ABI {abi}"


def _namespaces() -> tuple[bool, str]:
    """Enters them as a system's zygote does, in a child."""
    from hw import namespaces
    from hw.child_answer import answer_of_child

    caller = os.getpid()
    words = answer_of_child(lambda: " ".join(namespaces.enter(caller)).encode() or b"-").decode()
    if not words:
        return False, "this host ended the process that entered them"
    return words == "-", ", ".join(namespaces.NAMES) if words == "-" else f"refused: {words}"


def _pid_namespace() -> tuple[bool, str]:
    from hw.process_namespace import permitted

    found, shown = permitted()
    if not found:
        return False, "refused"
    return True, "with a /proc of its own" if shown else "without a /proc of its own, which is refused"


def _control_group() -> tuple[bool, str]:
    """Makes one as a system's monitor does, and removes it; with it those that killed monitors have left there."""
    from hw.control_group import Bounds, ControlGroup
    from hw.control_group_places import NotDelegated

    bounds = Bounds.of(_RAM)
    try:
        ControlGroup.make("doctor", bounds).close()
    except NotDelegated as refused:
        return False, f"not delegated: {refused}"
    return True, f"{bounds.processes} threads, {bounds.memory >> 20} MiB for a system with {_RAM >> 20} MiB of RAM"


def _file_tree() -> tuple[bool, str]:
    from hw.code_tree import permitted

    with tempfile.TemporaryDirectory(prefix="sel4py-tree-") as folder:
        return (True, "code alone") if permitted(folder) else (False, "refused")


def _limits() -> tuple[bool, str]:
    names = ("RLIMIT_DATA", "RLIMIT_NOFILE", "RLIMIT_FSIZE", "RLIMIT_CORE")
    return all(resource.getrlimit(getattr(resource, name)) for name in names), "memory, descriptors, log, core dumps"


def _capabilities() -> tuple[bool, str]:
    return _libc.prctl(_PR_CAPBSET_READ, 0, 0, 0, 0) >= 0, "a task has none, whoever starts the system"


def _dumpable() -> tuple[bool, str]:
    return _libc.prctl(_PR_GET_DUMPABLE, 0, 0, 0, 0) >= 0, "prctl"


def _pidfd() -> tuple[bool, str]:
    descriptor = os.pidfd_open(os.getpid())
    try:
        signal.pidfd_send_signal(descriptor, 0)
    finally:
        os.close(descriptor)
    return True, "pidfd_open, pidfd_send_signal"


def _close_range() -> tuple[bool, str]:
    # Of numbers that no descriptor has.
    _system_call(_CLOSE_RANGE, ctypes.c_uint(_NO_DESCRIPTOR), ctypes.c_uint(_NO_DESCRIPTOR), 0)
    return True, "present"


def _timerfd() -> tuple[bool, str]:
    if (descriptor := _libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_CLOEXEC)) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    os.close(descriptor)
    return True, "present"


def _holes() -> tuple[bool, str]:
    descriptor = os.memfd_create("sel4py-doctor", os.MFD_CLOEXEC)
    try:
        os.ftruncate(descriptor, mmap.PAGESIZE)
        if _libc.fallocate(descriptor, _FALLOC_HOLE, ctypes.c_long(0), ctypes.c_long(mmap.PAGESIZE)) < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return True, "fallocate"
    finally:
        os.close(descriptor)


def _proc() -> tuple[bool, str]:
    with open("/proc/self/maps", "rb") as maps:
        return bool(maps.readline()), "/proc/self/maps"


def _eventfd() -> tuple[bool, str]:
    os.close(os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK))
    return True, "eventfd"


def _reads_nowait() -> tuple[bool, str]:
    descriptor = os.open(os.getcwd(), os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        os.pwrite(descriptor, b"x", 0)
        os.preadv(descriptor, [bytearray(1)], 0, os.RWF_NOWAIT)
        return True, "this folder's file system has RWF_NOWAIT"
    finally:
        os.close(descriptor)


def _descriptors() -> tuple[bool, str]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = "unlimited" if hard == resource.RLIM_INFINITY else str(hard)
    return hard == resource.RLIM_INFINITY or hard >= _DESCRIPTORS, f"{soft} now, up to {limit}; needs {_DESCRIPTORS}"


def _cores() -> tuple[bool, str]:
    count = len(os.sched_getaffinity(0))
    return count >= 2, str(count)


def _time_slice() -> tuple[bool, str]:
    from hw.time_slice import slice_ns

    now = slice_ns()
    return now > 0, f"{now / 1e6:g} ms now" if now else "this host grants no slices (Linux 6.12 and later do)"


def _niceness() -> tuple[bool, str]:
    """Whether a thread that was made nicer can be made less so again: tried by a thread that ends with it."""
    allowed: list[bool] = []

    def attempt() -> None:
        before = os.getpriority(os.PRIO_PROCESS, 0)
        os.setpriority(os.PRIO_PROCESS, 0, before + 1)
        try:
            os.setpriority(os.PRIO_PROCESS, 0, before)
        except PermissionError:
            return
        allowed.append(True)

    thread = threading.Thread(target=attempt)
    thread.start()
    thread.join()
    if allowed:
        return True, "priorities below 100 are nice values, and follow each change"
    return False, "whose priority is lowered below 100 stays as nice when it is raised again (needs CAP_SYS_NICE)"


def _device(path: str) -> Callable[[], tuple[bool, str]]:
    def look() -> tuple[bool, str]:
        os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC))
        return True, path

    return look


def _program(name: str) -> Callable[[], tuple[bool, str]]:
    def look() -> tuple[bool, str]:
        found = shutil.which(name)
        return found is not None, "found" if found else "not on PATH"

    return look


_PROBES: Final = (
    _Probe("python", True, "the language: 3.11 or later", _python),
    _Probe("hw._ram", True, "records and transactions (build with: make build)", _extension("hw._ram")),
    _Probe("hw._cpu", True, "trap rings and the sandbox (build with: make build)", _extension("hw._cpu")),
    _Probe("uvloop", True, "the kernel's event loop", _extension("uvloop")),
    _Probe("zmq", True, "the management socket", _extension("zmq")),
    _Probe("memfd", True, "RAM and frames: memory with no name in any file system", _memfd),
    _Probe("memfd seals", True, "stops a task from growing memory that was taken from it", _seals),
    _Probe("futex", True, "sleeping until the kernel has answered", _futex),
    _Probe("futex_waitv", False, "a server that sleeps on many channels at once", _futex_waitv),
    _Probe("eventfd", True, "doorbells", _eventfd),
    _Probe("pidfd", True, "noticing deaths; stops a signal from reaching a reused process id", _pidfd),
    _Probe("close_range", True, "stops a task from keeping a descriptor that it was not given", _close_range),
    _Probe("timerfd", True, "budgets and timers", _timerfd),
    _Probe("memfd holes", True, "memory of RAM that is given back to the host", _holes),
    _Probe("/proc", True, "what the kernel knows of its own and of tasks' processes", _proc),
    _Probe("open files", True, "descriptors for a thousand tasks", _descriptors),
    _Probe("no_new_privs", True, "stops a task from gaining rights through a setuid program", _no_new_privileges),
    _Probe(
        "seccomp filter",
        True,
        "stops host system calls that no task needs: socket, exec, kill, ptrace, mount, and all that it does not know",
        _seccomp_action(_SECCOMP_RET_KILL_PROCESS),
    ),
    _Probe(
        "seccomp notify",
        False,
        "says which forbidden host system call a task was ended for; without it the task ends and nobody knows",
        _seccomp_action(_SECCOMP_RET_USER_NOTIF),
    ),
    _Probe("limits", True, "stops a task from taking memory, descriptors and disk that it was not given", _limits),
    _Probe("capabilities", True, "stops the tasks of a system that root starts from being root", _capabilities),
    _Probe("not dumpable", True, "stops a task from reading the memory and descriptors of others", _dumpable),
    _Probe(
        "landlock",
        False,
        "stops a task from reading any file but code, and from all else with files where a seccomp rule is missed",
        _landlock,
    ),
    _Probe(
        "namespaces",
        False,
        "stops a task from reaching the host's networks, mounts, queues and names where a seccomp rule is missed",
        _namespaces,
    ),
    _Probe(
        "pid namespace",
        False,
        "stops a task from naming any process of the host's but its own system's tasks: signals, memory, descriptors of"
        " others, where a seccomp rule is missed",
        _pid_namespace,
    ),
    _Probe(
        "control group",
        False,
        "stops all tasks of a system together from flooding the host with processes, threads, and memory that no limit"
        " of a process counts",
        _control_group,
    ),
    _Probe(
        "file tree",
        False,
        "stops a task from finding out which files the host has, how long and how old they are, and where links lead;"
        " and from reading them, where the host has no Landlock",
        _file_tree,
    ),
    _Probe("two cores", False, "calls between running tasks without a switch", _cores),
    _Probe("time slice", False, "a task that wakes up need not wait for the host's next clock tick", _time_slice),
    _Probe("nice values", False, "tasks of a low priority give way to others on a busy host", _niceness),
    _Probe("reads nowait", False, "a disk's reads of what is in the host's memory, without a thread", _reads_nowait),
    _Probe("lwIP", False, "the network server's TCP/IP stack", _lwip),
    _Probe("/dev/net/tun", False, "network back end tap", _device("/dev/net/tun")),
    _Probe("/dev/kvm", False, "hardware virtual machines", _device("/dev/kvm")),
    _Probe("spin", False, "model checking of the shared-memory protocols (Debian package spin)", _program("spin")),
    _Probe("cc", False, "building from source", _program("cc")),
)
