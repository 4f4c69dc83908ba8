"""The user's half of the machine: what a task's own process may do.

A thread traps through its own trap frame, which the kernel gave it; each function here is of the calling thread. Wire
formats and numbers: `libsel4py.abi`. Nothing here is a permission: the kernel checks every call, and a task that
writes nonsense into its frame harms itself alone.

Rules. `begin` in the forked process; `attach` once; then `enter_sandbox`, once; then the boot image. A process that is
made ahead of need: `begin`, `prepare`, `enter_sandbox`, `await_order`. `trap`, `batch`
and the IPC buffer's functions are C functions themselves, without a Python frame around them: `help()` tells their
contract.
A Python signal handler may raise out of `trap`, which then is cancelled first; it must not trap itself.
"""

from __future__ import annotations

import os
import struct
import sys
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

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
    forget_candidate,
    host_call_name,
    kernel_trap,
    message_get,
    message_put,
    message_read,
    message_write,
    receive_path,
    recv,
    reply_recv,
    serve,
    set_caps,
    set_exchange_ns,
    set_receive,
    set_spin_ns,
    set_upgrade,
    signal_many,
    trap,
)
from hw.layers import NO_LAYER, Layer
from libsel4py.abi import VMFault

Completion: TypeAlias = tuple[int, int, int, int, int, int, int]
"""status (`libsel4py.abi.Status`), badge, message info, message registers 0 to 3."""

ThreadEntry: TypeAlias = Callable[[int, int, int, int, int, int, int, int], int | None]
"""Called with the thread's number, its boot image's number and six argument words; returns its exit status."""

DEFAULT_OPEN_FILES: Final = 64
_MAP: Final = struct.Struct("=3Q")  # cpu.h, struct begin_map
_ORDER: Final = struct.Struct("=qII6Q16s192s")  # ahead.c, struct order
MOST_ORDERED_MAPS: Final = 8


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


class Report(NamedTuple):
    """A socket (SOCK_SEQPACKET) to who is told of forbidden host system calls, and the number to name oneself by."""

    descriptor: int
    number: int


@dataclass(frozen=True, slots=True)
class Beginning:
    """What `begin` needs, packed: made before the fork, so that the new process only has to call it."""

    parent: int
    name: bytes
    log_folder: int
    log_name: bytes
    descriptors: bytes
    maps: bytes
    has_rules: bool
    has_report: bool
    bare: bool

    @classmethod
    def pack(
        cls,
        parent: int,
        name: str,
        log_folder: int,
        log_name: str,
        descriptors: Sequence[int],
        maps: Sequence[tuple[int, int, int]] = (),
        file_rules: int = -1,
        report: int = -1,
        bare: bool = True,
    ) -> Beginning:
        """Everything but the map's words is taken as it comes: a name is bytes that another task chose.

        Args:
            parent: what getppid(2) says in the new process. name: what ps(1) shows, cut to 15 bytes.
            log_folder: descriptor of the folder in which the file `log_name` becomes stdout and stderr; where that is
            empty they stay the parent's.
            descriptors: the frame's, the doorbell's, the control socket's, then one for each map.
            maps: (address, bytes, rights as `abi.Rights` READ and WRITE).
            file_rules: of `file_rules`; -1: all files that its user may read.
            report: the socket of who is to be told of forbidden host system calls (`Report`); -1: nobody.
            bare: whether it gives up Linux's capabilities.
        """
        packed = b"".join(_MAP.pack(*each) for each in maps)
        passed = array("i", (*descriptors, *(each for each in (file_rules, report) if each >= 0))).tobytes()
        return cls(
            parent, _plain(name), log_folder, log_name.encode(), passed, packed, file_rules >= 0, report >= 0, bare
        )


def pack_order(
    memory: int,
    image: int,
    image_number: int,
    words: Sequence[int],
    name: str,
    maps: Sequence[tuple[int, int, int]],
) -> bytes:
    """An order for a process that waits in `await_order`.

    Args:
        memory: bytes of private memory that it may have beyond what it holds; -1 for no bound.
        image, image_number, words: what `await_order` returns; six words.
        name, maps: as for `Beginning.pack`; at most `MOST_ORDERED_MAPS` maps.
    Raises:
        struct.error: a number does not fit, or there are not six words.
    """
    packed = b"".join(_MAP.pack(*each) for each in maps)
    if len(packed) > _MAP.size * MOST_ORDERED_MAPS:
        raise struct.error(f"an order has at most {MOST_ORDERED_MAPS} maps, not {len(maps)}")
    return _ORDER.pack(memory, image, image_number, *words, _plain(name), packed)


def _plain(name: str) -> bytes:
    return name.encode(errors="replace").replace(b"\0", b"?")[:15]


def begin(beginning: Beginning) -> int:
    """In a process that was just forked: become one that only holds what a task begins with (hw/_cpu/begin.c).

    stdin stays the parent's. After it, descriptor 3 is the frame's, 4 the doorbell's, 5 the control socket's; the maps
    are mapped, all others are closed, and no file can be opened that the rules do not name. Then: `attach`.

    Returns:
        The report's descriptor, for `enter_sandbox`; -1 if there is none.

    Raises:
        OSError: the host refused; its filename names the step or the log. The process must then not go on.
    """
    return _cpu.begin(
        beginning.parent,
        beginning.name,
        beginning.log_folder,
        beginning.log_name,
        beginning.descriptors,
        beginning.maps,
        beginning.has_rules,
        beginning.has_report,
        beginning.bare,
    )


def file_rules(paths: Iterable[str]) -> int:
    """Rules by which a process may open nothing but these files, and what is below these folders, and only to read.

    Rules of Landlock (hw/_cpu/landlock.c): they also deny what the system-call filter denies, for the files' own sake.
    One that is not there is left out. `begin` puts a process under them.

    Returns:
        A descriptor, the caller's to close; -1: this host has no Landlock (`sandbox_layers`).
    Raises:
        OSError: the host refused; its filename names the layer or the path.
    """
    return _cpu.file_rules([os.fsencode(path) for path in paths])


def hide_memory() -> None:
    """Keep this process's memory, descriptors and core dumps from all others of the same user, tasks among them.

    For the processes that run a system. prctl(2), PR_SET_DUMPABLE: the process's entries under /proc belong to root
    then, and only it and root may read them. Processes that it forks begin like that; a new program does not.

    Raises:
        OSError: the host refused.
    """
    _cpu.hide_memory()


def prepare() -> None:
    """In a process that has begun with one socket in the place of its three own descriptors: be ready to be attached.

    Instead of `attach`, before `enter_sandbox`, whose bound of memory is then left to the order: `await_order`.

    Raises:
        RuntimeError: the process is attached already.
        OSError: the host refused the keeper, or its memory.
    """
    handler = sys.modules.get("faulthandler")
    if handler is not None:
        handler.disable()
    _cpu.prepare()


def await_order() -> tuple[int, int, int, int, int, int, int, int]:
    """Wait for the process's order; then it is attached, and its memory bounded.

    The process ends where its socket ends before. The order (`pack_order`) comes with the descriptors of the log, the
    frame, the doorbell, the control socket, and each map.

    Returns:
        Two numbers and six words, as whoever gave the order chose them.
    Raises:
        OSError: the host refused a step, which its filename names. The process must then not go on.
    """
    return _cpu.await_order()


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


def enter_sandbox(
    memory_bytes: int = -1,
    open_files: int = DEFAULT_OPEN_FILES,
    file_bytes: int = -1,
    without: Layer = NO_LAYER,
    report: Report | None = None,
    loosened: Iterable[int] = (),
) -> None:
    """Give up for good what a task does not need. Call it after `attach` and before the boot image's first line, in
    a process without threads of its own: the calling thread and the keeper are those that lose Linux's capabilities.

    No new privileges, no Linux capabilities, no core dumps, resource limits, and a system-call filter for all threads:
    the list of what it lets through is `hw/_cpu/host_calls.c`. Reading files, memory, threads, pipes and clocks go on
    working. Sockets, programs and processes, signals to others, writing or changing files are PermissionError. What no
    ordinary program asks for (ptrace, namespaces, bpf, …) ends the process.
    asyncio's event loops want a socket pair and so must be made before, or without one.

    Args:
        memory_bytes: private memory beyond what the process holds now; -1 for no limit. Shared mappings do not count,
            a thread's stack does.
        open_files: descriptors are below this number, and below one less with a report. Those that are open stay.
        file_bytes: how long a file (the task's log) may become by writing; -1 for no limit. Beyond it OSError EFBIG.
        without: layers that a test leaves out.
        report: who is told of calls that are not on the list, and kills; None: the host kills, and says nothing of it.
        loosened: numbers of host system calls that pass nevertheless, whatever their arguments.
    Raises:
        OSError: a layer could not be set up; its filename names it. The process must then not go on.
    """
    descriptor, number = (-1, 0) if report is None else report
    passed = array("i", loosened).tobytes()
    _cpu.enter_sandbox(memory_bytes, open_files, file_bytes, without.value, descriptor, number, passed)


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
    "MOST_ORDERED_MAPS",
    "Beginning",
    "Completion",
    "Mapping",
    "Report",
    "SandboxLayers",
    "ThreadEntry",
    "VMFault",
    "answer",
    "answer_recv",
    "attach",
    "await_order",
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
    "file_rules",
    "forget_candidate",
    "hide_memory",
    "host_call_name",
    "kernel_trap",
    "message_get",
    "message_put",
    "message_read",
    "message_write",
    "pack_order",
    "prepare",
    "receive_path",
    "recv",
    "reply_recv",
    "sandbox_layers",
    "serve",
    "set_caps",
    "set_exchange_ns",
    "set_receive",
    "set_spin_ns",
    "set_thread_entry",
    "set_upgrade",
    "signal_many",
    "trap",
]
