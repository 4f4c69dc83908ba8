"""What the monitor tells a process that is to be the kernel: descriptors, notes, options, and that it is its turn.

Messages: hw/fd_store.py ("have") and hw/kernel_process.py ("run").
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import msgpack

from hw.machine import DeviceDescription, MachineDescription
from kerneld.host.fd_store import Inheritance, Kept

MESSAGE_BYTES: Final = 1 << 18  # more than a socket's buffer takes
DESCRIPTORS_HIGH: Final = 253  # SCM_MAX_FD


@dataclass(frozen=True, slots=True)
class KernelOptions:
    """Descriptors are this process's own numbers.

    Attributes:
        name: the system's. folder: its runtime folder.
        ram_fd: RAM's memfd. zygote_fd: a SOCK_SEQPACKET socket. console_in, console_out: of the stdio back end.
        machine: with the descriptors that its devices stand on.
        images: the machine's boot images by number. poll_ns: how long the kernel looks before it sleeps.
        initial_memory_bits: log2 of the initial task's private memory in bytes.
        cores, step_us: of a machine that is booted (boot.BootParameters).
        description: BootInfo's. source: the file that it was read from.
        builder: a digest of the initial task's code. without: layers of the sandbox that a test has left out.
        restarts: how many kernels there were before. noticed_ns: when the last one's death was seen, CLOCK_MONOTONIC.
        upgrades, failed_upgrades: how often newer code has taken over, and how often it could not.
    """

    name: str
    folder: Path
    ram_fd: int
    zygote_fd: int
    console_in: int
    console_out: int
    machine: MachineDescription
    images: tuple[str, ...]
    poll_ns: int
    initial_memory_bits: int
    description: bytes
    restarts: int = 0
    noticed_ns: int = 0
    upgrades: int = 0
    failed_upgrades: int = 0
    cores: int = 0
    step_us: int = 0
    source: str = ""
    builder: str = ""
    without: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str, descriptors: Mapping[str, int], description: bytes) -> KernelOptions:
        """``descriptors``: by the monitor's names for them.

        Raises ValueError or KeyError if the text is not what the monitor writes.
        """
        plain = json.loads(text)
        devices = [DeviceDescription.from_plain(device) for device in plain["devices"]]
        placed = tuple(replace(each, descriptor=descriptors.get(f"device:{each.name}", -1)) for each in devices)
        return cls(
            name=str(plain["name"]),
            folder=Path(plain["folder"]),
            ram_fd=descriptors["ram"],
            zygote_fd=descriptors["zygote"],
            console_in=descriptors["console-in"],
            console_out=descriptors["console-out"],
            machine=MachineDescription(int(plain["ram_bytes"]), placed),
            images=tuple(str(image) for image in plain["images"]),
            poll_ns=int(plain["poll_ns"]),
            initial_memory_bits=int(plain["initial_memory_bits"]),
            description=description,
            cores=int(plain["cores"]),
            step_us=int(plain["step_us"]),
            source=str(plain["source"]),
            builder=str(plain["builder"]),
            without=tuple(str(layer) for layer in plain["without"]),
        )


def wait_for_turn(monitor: socket.socket) -> tuple[KernelOptions, Inheritance] | None:
    """Wait until the monitor says that this process is the kernel. None: the monitor has ended.

    Raises ValueError or KeyError if it says something else.
    """
    entries: dict[str, Kept] = {}
    while True:
        data, descriptors, _, _ = socket.recv_fds(monitor, MESSAGE_BYTES, DESCRIPTORS_HIGH, socket.MSG_CMSG_CLOEXEC)
        if not data:
            return None
        message = msgpack.unpackb(data)
        match message:
            case {"op": "have", "entries": list(some)}:
                waiting = iter(descriptors)
                for key, note, has_descriptor in some:
                    entries[key] = Kept(key, note, next(waiting) if has_descriptor else -1)
            case {
                "op": "run",
                "restarts": int(restarts),
                "noticed_ns": int(noticed_ns),
                "upgrades": int(upgrades),
                "failed_upgrades": int(failed),
            }:
                options = replace(
                    _options(entries),
                    restarts=restarts,
                    noticed_ns=noticed_ns,
                    upgrades=upgrades,
                    failed_upgrades=failed,
                )
                return options, Inheritance(list(entries.values()))
            case _:
                raise ValueError(f"the monitor says {message!r}, which is no message of its protocol")


def _options(entries: dict[str, Kept]) -> KernelOptions:
    """The options; takes out of the entries what they name."""
    names = [key for key in entries if key in _OWN or key.startswith("device:")]
    descriptors = {key: entries.pop(key).descriptor for key in names}
    return KernelOptions.parse(_read(descriptors["options"]).decode(), descriptors, _read(descriptors["description"]))


_OWN: Final = ("ram", "options", "description", "zygote", "console-in", "console-out")


def _read(descriptor: int) -> bytes:
    """All of a file, wherever another process with the same open file has got to. Closes the descriptor."""
    try:
        return os.pread(descriptor, os.fstat(descriptor).st_size, 0)
    finally:
        os.close(descriptor)
