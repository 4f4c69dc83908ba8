"""Suspends the system: all tasks stopped, RAM written to a file, and then its end, or its going on.

Runs as one operation of the management socket, between two transactions, and nothing else runs meanwhile. The file is
written beside its place, is on the medium, and takes its place in one step; whatever fails before leaves the former
file there, and the system goes on. A kernel that dies meanwhile leaves a `.part` and no file; the next one lets the
tasks go on, since it finds them stopped without being held.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hw.clock import host_microseconds
from hw.devices.disk import Disk as DiskBackend
from kerneld import layout
from kerneld.host.image import PART, save_image
from kerneld.host.operations import Refused
from kerneld.host.process import Phase
from kerneld.host.snapshot_format import Disk, Trailer, digests, pack

if TYPE_CHECKING:
    from kerneld.host.process import Process
    from kerneld.host.system import System

STOP_S: Final = 2.0  # for the host to stop what it was told to
DISK_S: Final = 10.0  # for a disk to finish what it has begun


def suspend(system: System, request: Mapping[str, object]) -> object:
    """Save the system to ``file``; it ends if ``end`` says so. Raises Refused: nothing has changed."""
    file, end = request.get("file"), request.get("end")
    if not isinstance(file, str) or not isinstance(end, bool) or not Path(file).is_absolute():
        raise Refused("suspend takes 'file', an absolute path, and 'end', whether the system ends")
    processes = list(system.processes)
    if not system.is_up or any(process.phase is Phase.STARTING for process in processes):
        raise Refused("a task is being started; ask again when the system is up")
    for process in processes:
        process.hold_still(True)
    ends = False
    try:
        _wait_stopped(processes)
        _finish_disks(system)
        size = _save(system, Path(file))
        ends = end
    except OSError as error:
        raise Refused(f"{file}: {error.strerror}; the system goes on") from error
    finally:
        if not ends:
            for process in processes:
                process.hold_still(False)
    if ends:
        system.loop.call_soon(system.end, 0)
    return {"file": file, "bytes": size}


def _wait_stopped(processes: Iterable[Process]) -> None:
    """A task that ran on would change its memory while it is copied. The host tells nobody but the parent of a stop."""
    deadline = time.monotonic() + STOP_S
    for process in processes:
        while not process.is_at_rest:
            if time.monotonic() > deadline:
                raise Refused(f"the host does not stop {process.name} (process {process.pid}); the system goes on")
            os.sched_yield()


def _finish_disks(system: System) -> None:
    deadline = time.monotonic() + DISK_S
    for number in range(len(system.options.machine.devices)):
        backend = system.back_end(number)
        if isinstance(backend, DiskBackend) and not backend.finish(deadline):
            raise Refused("a disk does not finish what it was asked for; the system goes on")


def _save(system: System, path: Path) -> int:
    part = path.with_name(path.name + PART)
    saved = save_image(system.options.ram_fd, system.mappings, part)
    try:
        target = os.open(part, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            tail = pack(_trailer(system, target, saved))
            written = 0
            while written < len(tail):
                written += os.pwrite(target, tail[written:], saved + written)
            os.fsync(target)
        finally:
            os.close(target)
        os.rename(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return saved + len(tail)


def _trailer(system: System, target: int, saved: int) -> Trailer:
    options, disks = system.options, []
    for number, device in enumerate(options.machine.devices):
        if isinstance(system.back_end(number), DiskBackend):
            status = os.fstat(device.descriptor)
            disks.append(Disk(device.name, status.st_size, status.st_ino, status.st_mtime_ns))
    return Trailer(
        layout=layout.VERSION,
        page=os.sysconf("SC_PAGESIZE"),
        ram_bytes=options.machine.ram_bytes,
        name=options.name,
        source=options.source,
        builder=options.builder,
        description=options.description,
        clock_us=host_microseconds(),
        disks=tuple(disks),
        chunks=digests(target, saved),
        device_bytes=saved - options.machine.ram_bytes,
    )
