"""A machine from its description: RAM, devices on its I/O bus, and devices' memory behind RAM.

All memory is one memfd, sparse: a page costs the host memory when it is first written. Where RAM holds its undo log and
device records is the kernel's to say (`RamLayout`): this module knows no kernel. A device's memory is a power of two of
bytes, aligned to that; in the order of the devices, each has the first place that is free.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from hw.clock import Microseconds, host_microseconds
from hw.devices.block import Block
from hw.devices.bus import IoBus
from hw.devices.clock import Clock
from hw.devices.device import Device
from hw.devices.disk_image import DiskImage
from hw.devices.entropy import Entropy
from hw.devices.framebuffer import DisplayMode, Framebuffer
from hw.devices.net import Net
from hw.devices.uart import Uart
from hw.interrupts import Trigger
from hw.iommu import Iommu
from hw.ram import Ram

PAGE_BYTES: Final = 4096
REGISTERS_BITS: Final = 12  # log2 of the bytes of a page of registers


class DeviceKind(Enum):
    UART = "uart"
    CLOCK = "clock"
    ENTROPY = "entropy"
    VIRTIO_BLOCK = "virtio-block"
    VIRTIO_NET = "virtio-net"
    FRAMEBUFFER = "framebuffer"


class BackendKind(Enum):
    """Where a UART's bytes go on the host."""

    STDIO = "stdio"
    PTY = "pty"


@dataclass(frozen=True, slots=True)
class NetworkInterface:
    """What a network device is on its link: hardware address, and MTU in bytes of an IP packet.

    ``forwards``: ports of the host that lead to it, for people.
    """

    mac: bytes
    mtu: int
    forwards: tuple[str, ...] = ()

    def plain(self) -> list[object]:
        """As JSON can hold it."""
        return [self.mac.hex(), self.mtu, *self.forwards]

    @classmethod
    def from_plain(cls, plain: object) -> NetworkInterface | None:
        """What `plain` gave, or None for None. Raises ValueError."""
        if not isinstance(plain, list):
            return None
        mac, mtu, *forwards = plain
        return cls(bytes.fromhex(mac), int(mtu), tuple(map(str, forwards)))


@dataclass(frozen=True, slots=True)
class DeviceDescription:
    """A device of the machine.

    Attributes:
        first_port, irq: where it is; lines are 0..63. backend: of a UART. descriptor: what the device stands on at the
        host, opened by whoever starts the machine (a disk's image, a network's frames); -1 for none. network: of a
        network device. display: of a framebuffer. maps_registers: they are a page of device memory as well.
    """

    name: str
    kind: DeviceKind
    first_port: int
    irq: int
    backend: BackendKind | None = None
    trigger: Trigger = Trigger.LEVEL
    descriptor: int = -1
    network: NetworkInterface | None = None
    display: DisplayMode | None = None
    maps_registers: bool = False

    @property
    def memory_bits(self) -> int:
        """log2 of the bytes of memory that the device has; 0 for none."""
        if self.display is not None:
            return self.display.memory_bits
        return REGISTERS_BITS if self.maps_registers else 0

    def plain(self) -> dict[str, object]:
        """As JSON can hold it."""
        backend = None if self.backend is None else self.backend.value
        return {
            "name": self.name,
            "kind": self.kind.value,
            "first_port": self.first_port,
            "irq": self.irq,
            "backend": backend,
            "trigger": self.trigger.value,
            "descriptor": self.descriptor,
            "network": None if self.network is None else self.network.plain(),
            "display": None if self.display is None else self.display.plain(),
            "maps_registers": self.maps_registers,
        }

    @classmethod
    def from_plain(cls, plain: dict[str, object]) -> DeviceDescription:
        """What `plain` gave. Raises KeyError or ValueError if it is something else."""
        backend, network = plain["backend"], plain["network"]
        return cls(
            str(plain["name"]),
            DeviceKind(plain["kind"]),
            int(str(plain["first_port"])),
            int(str(plain["irq"])),
            None if backend is None else BackendKind(backend),
            Trigger(plain["trigger"]),
            int(str(plain["descriptor"])),
            NetworkInterface.from_plain(network),
            DisplayMode.from_plain(plain.get("display")),  # the options may be an older monitor's
            bool(plain.get("maps_registers")),
        )


@dataclass(frozen=True, slots=True)
class DeviceMemory:
    """Memory of a device: its physical address, and log2 of its bytes, to which it is aligned."""

    address: int
    size_bits: int

    @property
    def end(self) -> int:
        return self.address + (1 << self.size_bits)


@dataclass(frozen=True, slots=True)
class MachineDescription:
    """RAM in bytes (whole pages), and devices, whose place in the tuple is their device number."""

    ram_bytes: int
    devices: tuple[DeviceDescription, ...] = ()

    def __post_init__(self) -> None:
        if self.ram_bytes <= 0 or self.ram_bytes % PAGE_BYTES:
            raise ValueError(f"RAM of {self.ram_bytes} bytes: give a multiple of {PAGE_BYTES}")
        for device in self.devices:
            if device.maps_registers and device.display is not None:
                raise ValueError(f"the framebuffer {device.name} has memory of its own: its registers lie there")
        stdio = [device.name for device in self.devices if device.backend is BackendKind.STDIO]
        if len(stdio) > 1:
            raise ValueError(f"devices {', '.join(stdio)} all have back end stdio; give all but one of them pty")

    @property
    def device_memory(self) -> tuple[DeviceMemory | None, ...]:
        """The memory of each device; None of one that has none."""
        found: list[DeviceMemory | None] = []
        at = self.ram_bytes
        for device in self.devices:
            if not device.memory_bits:
                found.append(None)
                continue
            size = 1 << device.memory_bits
            memory = DeviceMemory(-(-at // size) * size, device.memory_bits)
            found.append(memory)
            at = memory.end
        return tuple(found)

    @property
    def register_pages(self) -> dict[int, int]:
        """Device numbers by the physical addresses of their pages of registers."""
        of_devices = enumerate(zip(self.devices, self.device_memory, strict=True))
        return {
            memory.address: number
            for number, (device, memory) in of_devices
            if memory is not None and device.maps_registers
        }

    @property
    def memory_bytes(self) -> int:
        """Of RAM, and of what is behind it."""
        return max([self.ram_bytes, *(memory.end for memory in self.device_memory if memory is not None)])


@dataclass(frozen=True, slots=True)
class RamLayout:
    """Where RAM holds what the machine needs. Addresses and sizes in bytes."""

    log_address: int
    log_bytes: int
    device_records: int
    device_record_bytes: int
    device_record_count: int


def create_ram(memory_bytes: int, name: str) -> int:
    """A memfd of that size, all zero and sparse. The caller closes it."""
    descriptor = os.memfd_create(f"sel4py-ram-{name}", os.MFD_CLOEXEC)
    try:
        os.ftruncate(descriptor, memory_bytes)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


class Machine:
    """A machine on a RAM: the window, the transactions on it, the bus, and what devices see of RAM.

    Args:
        window: all memory's bytes: a mapping of its memfd, or in a test any writable buffer.
        now: microseconds of a clock that never goes back. entropy: gives n random bytes.
    """

    def __init__(
        self,
        description: MachineDescription,
        window: mmap.mmap | bytearray,
        layout: RamLayout,
        now: Microseconds = host_microseconds,
        entropy: Callable[[int], bytes] = os.urandom,
    ) -> None:
        if len(description.devices) > layout.device_record_count:
            most = layout.device_record_count
            raise ValueError(f"{len(description.devices)} devices; a machine has room for {most}, leave some out")
        if len(window) < description.memory_bytes:
            raise ValueError(f"memory of {len(window)} bytes; the machine has {description.memory_bytes}")
        self.description = description
        self.layout = layout
        self.ram = Ram(window, layout.log_address, layout.log_bytes)
        self.iommu = Iommu(self.ram)
        self._now = now
        self._entropy = entropy
        devices = [self._device(number, device) for number, device in enumerate(description.devices)]
        self.bus = IoBus(self.ram, devices, description.register_pages)

    @classmethod
    def on_memory(
        cls, description: MachineDescription, ram_fd: int, layout: RamLayout, now: Microseconds = host_microseconds
    ) -> Machine:
        """A machine on RAM's memfd, which stays the caller's. Maps all of it."""
        return cls(description, mmap.mmap(ram_fd, description.memory_bytes), layout, now)

    def power_on(self) -> None:
        """Reset all devices. RAM is zero. An attached RAM that was running is left as it is: do not call this then."""
        with self.ram.transaction():
            for device in self.bus.devices.values():
                device.reset()

    def _device(self, number: int, description: DeviceDescription) -> Device:
        address = self.layout.device_records + number * self.layout.device_record_bytes
        port, irq, trigger = description.first_port, description.irq, description.trigger
        match description.kind:
            case DeviceKind.UART:
                return Uart(self.ram, address, number, port, irq, trigger)
            case DeviceKind.CLOCK:
                return Clock(self.ram, address, number, port, irq, self._now, trigger)
            case DeviceKind.ENTROPY:
                return Entropy(self.ram, address, number, port, irq, self.iommu.port(number), self._entropy, trigger)
            case DeviceKind.VIRTIO_BLOCK:
                image, dma = DiskImage(description.descriptor), self.iommu.port(number)
                return Block(self.ram, address, number, port, irq, dma, image.sectors, image.read_only, trigger)
            case DeviceKind.VIRTIO_NET:
                network = description.network
                if network is None:
                    raise ValueError(f"the network device {description.name} has no hardware address")
                dma = self.iommu.port(number)
                return Net(self.ram, address, number, port, irq, dma, network.mac, network.mtu, trigger)
            case DeviceKind.FRAMEBUFFER:
                memory, mode = self.description.device_memory[number], description.display
                if memory is None or mode is None:
                    raise ValueError(f"the framebuffer {description.name} has no width and height")
                return Framebuffer(self.ram, address, number, port, irq, memory.address, mode, trigger)
