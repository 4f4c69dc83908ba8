"""Suspended systems: which can be suspended, and a file's way back to RAM that a kernel goes on with.

Rules. A file is hostile until all of it was checked, and what is checked is the copy that is used. Nothing is started,
and no disk is written, before. An image is of one description, which must stand where it stood, and of disks that
nobody has written since.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from deploy.builder_digest import builder_digest
from deploy.description import Description, load
from deploy.runtime import RuntimeRefused
from hw.clock import host_microseconds
from hw.devices.clock import Clock
from hw.machine import Machine, MachineDescription, RamLayout, create_ram
from hw.ram import RamError
from kerneld import layout, resumption
from kerneld.failures import KernelBug
from kerneld.host.snapshot_format import BadSnapshot, Trailer, copy_ram, read
from libsel4py.description import Restart, System

_WORD: Final = (1 << 64) - 1
# What the kernel's code raises that meets records which cannot be.
_IMPOSSIBLE: Final = (
    ValueError,
    RamError,
    KernelBug,
    LookupError,
    struct.error,
    OverflowError,
    RecursionError,
    AssertionError,
)


class SnapshotRefused(RuntimeRefused):
    """The file cannot be resumed; the text says why, and what would have worked."""


def without_restart_point(system: System) -> list[str]:
    """The tasks that would begin anew and have nothing to begin from: never restarted, and without state."""
    return [t.name for t in system.tasks if t.restart is Restart.NEVER and not t.state and not t.state_slots]


def open_snapshot(path: Path) -> tuple[int, Trailer]:
    """A descriptor, which the caller closes, and what stands behind RAM. Raises SnapshotRefused."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise SnapshotRefused(f"{path} cannot be read: {error.strerror}") from None
    try:
        return descriptor, read(descriptor)
    except (BadSnapshot, OSError) as error:
        os.close(descriptor)
        raise SnapshotRefused(f"{path} cannot be resumed: {error}; save one with `sel4py suspend FILE`") from None


def description_of(path: Path) -> Description:
    """The description that a file's system was started from. Raises SnapshotRefused; OSError, BadDescription."""
    descriptor, trailer = open_snapshot(path)
    os.close(descriptor)
    description = load(Path(trailer.source), trailer.ram_bytes, trailer.name)
    _ensure_same(path, trailer, description.pack())
    return description


def _ensure_same(path: Path, trailer: Trailer, packed: bytes) -> None:
    if trailer.description != packed:
        raise SnapshotRefused(
            f"{path} is of {trailer.name} as {trailer.source} described it; that was changed since:"
            " put it back as it was, or start the system anew with `sel4py up`"
        )


@contextmanager
def resumed(path: Path, machine: MachineDescription, packed: bytes) -> Iterator[int]:
    """A memfd of RAM that is ready to go on, as long as the block lasts. Raises SnapshotRefused."""
    descriptor, trailer = open_snapshot(path)
    try:
        _ensure_fits(path, trailer, machine, packed)
        ram = create_ram(trailer.memory_bytes, trailer.name)
        try:
            try:
                copy_ram(descriptor, trailer, ram)
                _power_on(machine, ram, trailer)
            except _IMPOSSIBLE as error:
                raise SnapshotRefused(
                    f"{path} cannot be resumed: {error or repr(error)}; start the system anew with `sel4py up`"
                ) from error
            yield ram
        finally:
            os.close(ram)
    finally:
        os.close(descriptor)


def _ensure_fits(path: Path, trailer: Trailer, machine: MachineDescription, packed: bytes) -> None:
    _ensure_same(path, trailer, packed)
    if trailer.layout != layout.VERSION or trailer.page != os.sysconf("SC_PAGESIZE"):
        raise SnapshotRefused(
            f"{path} is of layout version {trailer.layout} and pages of {trailer.page} bytes, and this kernel of"
            f" {layout.VERSION} and {os.sysconf('SC_PAGESIZE')}: resume it with the sel4py that saved it"
        )
    if trailer.builder != builder_digest():
        raise SnapshotRefused(
            f"{path} was saved by a sel4py whose root builds systems by other code: resume it with that one, or start"
            " the system anew with `sel4py up`"
        )
    if (trailer.ram_bytes, trailer.memory_bytes) != (machine.ram_bytes, machine.memory_bytes):
        raise SnapshotRefused(
            f"{path} has {trailer.ram_bytes} bytes of RAM and {trailer.device_bytes} behind it, and the machine"
            f" {machine.ram_bytes} and {machine.memory_bytes - machine.ram_bytes}: resume it with the sel4py that"
            " saved it"
        )
    devices = {device.name: device for device in machine.devices}
    for disk in trailer.disks:
        device = devices.get(disk.name)
        if device is None or device.descriptor < 0:
            raise SnapshotRefused(f"{path} has a disk {disk.name}, and the system has none")
        status = os.fstat(device.descriptor)
        if (status.st_size, status.st_ino, status.st_mtime_ns) != (disk.size, disk.inode, disk.mtime_ns):
            raise SnapshotRefused(
                f"{path} cannot be resumed: the image of disk {disk.name} was changed or replaced since; put back the"
                " one of that time (`cp --preserve` keeps no inode: keep the file itself), or start anew with"
                " `sel4py up`"
            )


def _power_on(machine: MachineDescription, descriptor: int, trailer: Trailer) -> None:
    """Reset the devices, whose drivers begin anew; let a clock's counter go on where it stood."""
    records = RamLayout(
        layout.UNDO_LOG,
        layout.UNDO_LOG_BYTES,
        layout.DEVICE_RECORDS,
        layout.DEVICE_RECORD_BYTES,
        layout.DEVICE_RECORD_COUNT,
    )
    built = Machine.on_memory(machine, descriptor, records)
    ram = built.ram
    ram.recover()
    clocks = [device for device in built.bus.devices.values() if isinstance(device, Clock)]
    now = resumption.clock(ram, host_microseconds)
    saved_us = trailer.clock_us if now is host_microseconds else now()
    counters = [(saved_us - clock.state.power_on) & _WORD for clock in clocks]
    ram.poke(layout.DEVICE_RECORDS, bytes(layout.DEVICE_RECORD_BYTES * layout.DEVICE_RECORD_COUNT))
    built.power_on()
    with ram.transaction():
        for clock, counter in zip(clocks, counters, strict=True):
            clock.state.power_on = (now() - counter) & _WORD
    resumption.prepare(ram, host_microseconds, machine.ram_bytes)
