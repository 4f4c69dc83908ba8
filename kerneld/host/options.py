"""What the monitor tells a kernel that it starts: JSON on an inherited descriptor (`kerneld/__main__.py`)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from hw.machine import DeviceDescription, MachineDescription


@dataclass(frozen=True, slots=True)
class KernelOptions:
    """Descriptors are numbers that this process has inherited; -1 for none.

    Attributes:
        name: the system's. folder: its runtime folder.
        ram_fd: RAM's memfd. zygote_fd, monitor_fd: SOCK_SEQPACKET sockets. description_fd: BootInfo's description, to
            be read to its end. console_in, console_out: of the stdio back end.
        images: the machine's boot images by number. poll_ns: how long the kernel looks before it sleeps.
        initial_memory_bits: log2 of the initial task's private memory in bytes.
    """

    name: str
    folder: Path
    ram_fd: int
    zygote_fd: int
    monitor_fd: int
    description_fd: int
    console_in: int
    console_out: int
    parent: int
    machine: MachineDescription
    images: tuple[str, ...]
    poll_ns: int
    initial_memory_bits: int

    @classmethod
    def parse(cls, text: str) -> KernelOptions:
        """Raises ValueError or KeyError if the text is not what the monitor writes."""
        plain = json.loads(text)
        devices = tuple(DeviceDescription.from_plain(device) for device in plain["devices"])
        return cls(
            name=str(plain["name"]),
            folder=Path(plain["folder"]),
            ram_fd=int(plain["ram_fd"]),
            zygote_fd=int(plain["zygote_fd"]),
            monitor_fd=int(plain["monitor_fd"]),
            description_fd=int(plain["description_fd"]),
            console_in=int(plain["console_in"]),
            console_out=int(plain["console_out"]),
            parent=int(plain["parent"]),
            machine=MachineDescription(int(plain["ram_bytes"]), devices),
            images=tuple(str(image) for image in plain["images"]),
            poll_ns=int(plain["poll_ns"]),
            initial_memory_bits=int(plain["initial_memory_bits"]),
        )
