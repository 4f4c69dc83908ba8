"""The user's half of the machine: what a task's own process may do.

A thread traps through its own trap frame, which the kernel gave it; each function here is of the calling thread. Wire
formats and numbers: `libsel4py.abi`. Nothing here is a permission: the kernel checks every call, and a task that
writes nonsense into its frame harms itself alone.

Rules. `begin` in the forked process; `attach` once; then `enter_sandbox`, once; then the boot image. `trap`, `batch`
and the IPC buffer's functions are C functions themselves, without a Python frame around them: `help()` tells their
contract.
A Python signal handler may raise out of `trap`, which then is cancelled first; it must not trap itself.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from hw import _cpu
from hw._cpu import (
    Mapping,
    answer,
    answer_recv,
    badges,
    batch,
    call,
    call_bytes,
    call_numbers,
    candidate,
    channel_bind,
    channel_listen,
    channel_statistics,
    channel_unbind,
    detach,
    kernel_trap,
    message_get,
    message_put,
    message_read,
    message_write,
    receive_path,
    recv,
    reply_recv,
    set_caps,
    set_receive,
    set_spin_ns,
    set_upgrade,
    signal_many,
    trap,
)
from libsel4py.abi import VMFault

Completion: TypeAlias = tuple[int, int, int, int, int, int, int]
"""status (`libsel4py.abi.Status`), badge, message info, message registers 0 to 3."""

ThreadEntry: TypeAlias = Callable[[int, int, int, int, int, int, int, int], int | None]
"""Called with the thread's number, its boot image's number and six argument words; returns its exit status."""

DEFAULT_OPEN_FILES: Final = 64
_MAP: Final = struct.Struct("=3Q")  # begin.c, struct map


@dataclass(frozen=True, slots=True)
class SandboxLayers:
    """What this host gives to confine a task with. 0 or False is a layer that it lacks."""

    no_new_privs: bool
    rlimits: bool
    capabilities: bool
    seccomp: bool
    landlock: int  # version of its interface
    user_namespaces: bool
    namespaces: bool  # pid, network, IPC, UTS and mount namespaces inside a new user namespace


@dataclass(frozen=True, slots=True)
class Beginning:
    """What `begin` needs, packed: made before the fork, so that the new process only has to call it."""

    parent: int
    name: bytes
    log_folder: int
    log_name: bytes
    descriptors: bytes
    maps: bytes

    @classmethod
    def pack(
        cls,
        parent: int,
        name: str,
        log_folder: int,
        log_name: str,
        descriptors: Sequence[int],
        maps: Sequence[tuple[int, int, int]] = (),
    ) -> Beginning:
        """Everything but the map's words is taken as it comes: a name is bytes that another task chose.

        Args:
            parent: the process that is to fork. name: what ps(1) shows, cut to 15 bytes.
            log_folder: descriptor of the folder in which the file `log_name` becomes stdout and stderr.
            descriptors: the frame's, the doorbell's, the control socket's, then one for each map.
            maps: (address, bytes, rights as `abi.Rights` READ and WRITE).
        """
        plain = name.encode(errors="replace").replace(b"\0", b"?")[:15]
        packed = b"".join(_MAP.pack(*each) for each in maps)
        return cls(parent, plain, log_folder, log_name.encode(), array("i", descriptors).tobytes(), packed)


def begin(beginning: Beginning) -> None:
    """In a process that was just forked: become one that only holds what a task begins with (hw/_cpu/begin.c).

    stdin stays the parent's. After it, descriptor 3 is the frame's, 4 the doorbell's, 5 the control socket's; the maps
    are mapped, and all others are closed. Then: `attach`.

    Raises:
        OSError: the host refused; its filename names the step or the log. The process must then not go on.
    """
    _cpu.begin(
        beginning.parent,
        beginning.name,
        beginning.log_folder,
        beginning.log_name,
        beginning.descriptors,
        beginning.maps,
    )


def hide_memory() -> None:
    """Keep this process's memory, descriptors and core dumps from all others of the same user, tasks among them.

    For the processes that run a system. prctl(2), PR_SET_DUMPABLE: the process's entries under /proc belong to root
    then, and only it and root may read them. Processes that it forks begin like that; a new program does not.

    Raises:
        OSError: the host refused.
    """
    _cpu.hide_memory()


def attach(frame_fd: int, doorbell_fd: int, control_fd: int = -1) -> None:
    """Give the calling thread its trap frame, and the process its keeper and its handlers of SIGSEGV and SIGBUS.

    Python's `faulthandler` is turned off if it is on: it would tell of memory that is on its way as of the end. If the
    task turns it on later, it tells of the first fault alone and is turned off by that.

    Args:
        frame_fd: memory of at least ``1 << abi.TRAP_FRAME_BITS`` bytes; mapped, then closed.
        doorbell_fd: the thread's eventfd; kept.
        control_fd: the process's end of the control socket; kept, and served by a thread that never takes the GIL.
            -1 for none: then nothing can be mapped, and no thread be parked or started.
    Raises:
        RuntimeError: the thread or the process is attached already.
        ValueError: the frame is too short.
        OSError: the host refused to map the frame or to start the keeper.
    """
    handler = sys.modules.get("faulthandler")
    if handler is not None:
        handler.disable()  # in any case before our handlers are there, because it puts the former ones back
    _cpu.attach(frame_fd, doorbell_fd, control_fd)


def set_thread_entry(entry: ThreadEntry) -> None:
    """Say what a further thread of this process runs, before the kernel asks for one (control message THREAD).

    The thread ends when ``entry`` returns: its status is the integer returned, 0 for None, 1 after an exception, whose
    traceback goes to stderr. Until an entry is set, the kernel's request is answered with ENOEXEC.
    """
    _cpu.set_thread_entry(entry)


def enter_sandbox(memory_bytes: int = -1, open_files: int = DEFAULT_OPEN_FILES, file_bytes: int = -1) -> None:
    """Give up for good what a task does not need. Call it after `attach` and before the boot image's first line, in
    a process without threads of its own: the calling thread and the keeper are those that lose Linux's capabilities.

    No new privileges, no Linux capabilities, no core dumps, resource limits, and a system-call filter for all threads
    that denies sockets, programs and processes, signals to others, writing or changing files, namespaces and the rest
    of `hw/_cpu/filter.c` with PermissionError. Reading files, memory, threads, pipes and clocks go on working.
    asyncio's event loops want a socket pair and so must be made before, or without one.

    Args:
        memory_bytes: private memory beyond what the process holds now; -1 for no limit. Shared mappings do not count,
            a thread's stack does.
        open_files: descriptors are below this number. Those that are open stay.
        file_bytes: how long a file (the task's log) may become by writing; -1 for no limit. Beyond it OSError EFBIG.
    Raises:
        OSError: a layer could not be set up; its filename names it. The process must then not go on.
    """
    _cpu.enter_sandbox(memory_bytes, open_files, file_bytes)


def sandbox_layers() -> SandboxLayers:
    """What this host supports, found by asking it and by making a child process in new namespaces."""
    layers = _cpu.sandbox_layers()
    return SandboxLayers(
        no_new_privs=bool(layers["no_new_privs"]),
        rlimits=bool(layers["rlimits"]),
        capabilities=bool(layers["capabilities"]),
        seccomp=bool(layers["seccomp"]),
        landlock=layers["landlock"],
        user_namespaces=bool(layers["user_namespaces"]),
        namespaces=bool(layers["namespaces"]),
    )


__all__ = [
    "DEFAULT_OPEN_FILES",
    "Beginning",
    "Completion",
    "Mapping",
    "SandboxLayers",
    "ThreadEntry",
    "VMFault",
    "answer",
    "answer_recv",
    "attach",
    "badges",
    "batch",
    "begin",
    "call",
    "call_bytes",
    "call_numbers",
    "candidate",
    "channel_bind",
    "channel_listen",
    "channel_statistics",
    "channel_unbind",
    "detach",
    "enter_sandbox",
    "hide_memory",
    "kernel_trap",
    "message_get",
    "message_put",
    "message_read",
    "message_write",
    "receive_path",
    "recv",
    "reply_recv",
    "sandbox_layers",
    "set_caps",
    "set_receive",
    "set_spin_ns",
    "set_thread_entry",
    "set_upgrade",
    "signal_many",
    "trap",
]
