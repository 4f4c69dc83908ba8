"""What a machine's devices stand on at the host: image files, networks.

Read from the description, opened when the system starts.

Rules. A description's tasks never see this: `libsel4py.description` holds nothing of the host. Paths count from the
description's own file. All is opened by the process that becomes the monitor, which hands the kernel descriptors.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from os import close
from pathlib import Path
from typing import Final

from deploy.host_network import NetworkLink, open_link
from deploy.reader import Table
from deploy.runtime import RuntimeRefused
from hw.devices.disk_image import SECTOR_BYTES, ImageError, open_image
from hw.helpers import Helper
from hw.machine import NetworkInterface

IMAGE_LOW, IMAGE_HIGH = 4096, 1 << 44
_KIND: Final = "a disk's image, such as 'disk.img'; the path counts from this file's folder"


@dataclass(frozen=True)
class DiskFile:
    """A disk's image. ``size`` in bytes is what it is made with if there is none yet; None: it must exist."""

    path: str
    size: int | None
    read_only: bool


def read_disk(table: Table) -> DiskFile:
    """A block device's keys."""
    table.require("image", _KIND)
    path = table.string("image")
    size = table.size("size", 0, IMAGE_LOW, IMAGE_HIGH, power_of_two=False) or None
    if size is not None and size % SECTOR_BYTES:
        table.report("size", f"is {size} bytes", f"a disk has whole sectors of {SECTOR_BYTES} bytes")
    read_only = table.boolean("read_only")
    if read_only and size is not None:
        table.report("size", "stands beside read_only", "a disk that is only read must exist: leave size out")
    return DiskFile(path, size, read_only)


HostPart = DiskFile | NetworkLink


@dataclass(frozen=True)
class Opened:
    """Descriptors and network interfaces by device name, and the processes at the other ends of descriptors."""

    descriptors: dict[str, int] = field(default_factory=dict)
    networks: dict[str, NetworkInterface] = field(default_factory=dict)
    helpers: list[Helper] = field(default_factory=list)


@contextmanager
def opened(parts: Mapping[str, HostPart], folder: Path, system: str) -> Iterator[Opened]:
    """All of it, open until the block ends. Raises RuntimeRefused: one cannot be had."""
    with ExitStack() as stack:
        found = Opened()
        for name, part in parts.items():
            if isinstance(part, DiskFile):
                found.descriptors[name] = _open_disk(stack, name, part, folder)
                continue
            link = open_link(stack, system, name, part)
            found.descriptors[name], found.networks[name] = link.descriptor, link.interface
            if link.helper is not None:
                found.helpers.append(link.helper)
        yield found


def _open_disk(stack: ExitStack, name: str, disk: DiskFile, folder: Path) -> int:
    try:
        descriptor = open_image(folder / disk.path, disk.size, disk.read_only)
    except ImageError as error:
        raise RuntimeRefused(f"device {name}: {error}") from error
    stack.callback(close, descriptor)
    return descriptor
