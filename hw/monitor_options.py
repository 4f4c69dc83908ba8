"""What the monitor is told of a system that it is to run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from hw.devices.framebuffer import DisplayMode
from hw.helpers import Helper
from hw.kernel_process import MOST_DEATHS
from hw.layers import Layer, left_out
from hw.machine import BackendKind, DeviceDescription, DeviceKind, MachineDescription, NetworkInterface

POLL_NS: Final = 50_000
INITIAL_MEMORY_BITS: Final = 26


class DeviceLike(Protocol):
    """A device as a system description has it; `type` and `backend` are enums whose values name ours."""

    @property
    def name(self) -> str: ...
    @property
    def type(self) -> Named: ...
    @property
    def first_port(self) -> int: ...
    @property
    def irq(self) -> int: ...
    @property
    def backend(self) -> Named | None: ...
    @property
    def display(self) -> DisplayLike | None: ...
    @property
    def maps_registers(self) -> bool: ...


class DisplayLike(Protocol):
    """A framebuffer's mode, as `DisplayMode`."""

    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...
    @property
    def pictures(self) -> int: ...


class Named(Protocol):
    """An enum member."""

    @property
    def value(self) -> str: ...


@dataclass(frozen=True)
class MonitorOptions:
    """A system to run.

    Attributes:
        name: the system's. folder: its runtime folder; made if it is missing.
        ram_bytes: of the machine. devices: of the machine, as the description has them.
        images: boot images by number; 0 is the initial task's. modules: what tasks import beside them, loaded before
            they start. rehearsal: a module with a function `rehearse`, for processes that wait to become a task, or "".
            module_paths: folders that both are imported from as well, where nothing of ours has the name.
        description: what the initial task is handed in BootInfo. source: the file that it was read from.
        builder: a digest of the initial task's code, by which a saved system knows its own again.
        ram: a memfd of a suspended system's RAM, made ready (kerneld/resumption.py); it stays the caller's. -1: none.
        console: the back end of all UARTs, instead of what the description says. script: an open descriptor that
            becomes the stdio console's input; it stays the caller's. output: where that console's output goes.
        descriptors: what devices stand on at the host, by device name; they stay the caller's.
        networks: what network devices are, by device name. helpers: processes at the other ends of the descriptors.
        poll_ns: how long the kernel looks for work before it sleeps. initial_memory_bits: log2 of the
            initial task's private memory, which is taken from RAM; None for 64 MiB, or a quarter of a small RAM.
        cores: virtual cores, 0 for none. step_us: of virtual time for a system call, 0 for the host's time.
        most_kernel_deaths: a kernel that dies more often than so within ten seconds is not replaced.
        without: layers of the sandbox that a test leaves out. host_calls: by boot image, names of host system calls
            that its processes may make beyond the sandbox's list.
    """

    name: str
    folder: Path
    ram_bytes: int
    images: Sequence[str]
    devices: Sequence[DeviceLike] = ()
    description: bytes = b""
    source: str = ""
    builder: str = ""
    ram: int = -1
    console: Named | None = None
    script: int | None = None
    modules: Sequence[str] = ()
    rehearsal: str = ""
    module_paths: Sequence[Path] = ()
    output: int = 1
    descriptors: Mapping[str, int] = field(default_factory=dict)
    networks: Mapping[str, NetworkInterface] = field(default_factory=dict)
    helpers: Sequence[Helper] = ()
    poll_ns: int = POLL_NS
    initial_memory_bits: int | None = None
    cores: int = 0
    step_us: int = 0
    most_kernel_deaths: int = MOST_DEATHS
    without: Layer = field(default_factory=left_out)
    host_calls: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def machine(self) -> MachineDescription:
        """The machine. Raises ValueError if it cannot be built."""
        return MachineDescription(self.ram_bytes, tuple(self._device(device) for device in self.devices))

    def memory_bits(self) -> int:
        """log2 of the initial task's private memory in bytes."""
        if self.initial_memory_bits is not None:
            return self.initial_memory_bits
        return min(INITIAL_MEMORY_BITS, self.ram_bytes.bit_length() - 3)

    def _device(self, device: DeviceLike) -> DeviceDescription:
        chosen = device.backend if device.backend is None or self.console is None else self.console
        backend = None if chosen is None else BackendKind(chosen.value)
        shown = device.display
        return DeviceDescription(
            device.name,
            DeviceKind(device.type.value),
            device.first_port,
            device.irq,
            backend,
            descriptor=self.descriptors.get(device.name, -1),
            network=self.networks.get(device.name),
            display=None if shown is None else DisplayMode(shown.width, shown.height, shown.pictures),
            maps_registers=device.maps_registers,
        )
