"""Every type of device that a description may name is one that the machine builds."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.description import load
from hw.devices.clock import Clock
from hw.devices.entropy import Entropy
from hw.devices.framebuffer import Framebuffer
from hw.devices.uart import Uart
from hw.devices.virtio import VirtioDevice
from hw.machine import DeviceKind
from libsel4py.description import PORT_COUNTS, DeviceType

TEXT = """
[system]
name = "one"

[machine]
ram = "128M"

[machine.devices.it]
type = "{type}"
port = 0x100
irq = 5
{backend}

[task.one]
image = "servers.names.main"
priority = 1
"""


NEEDED = {
    DeviceType.UART: 'backend = "pty"',
    DeviceType.VIRTIO_BLOCK: 'image = "disk.img"',
    DeviceType.VIRTIO_NET: 'backend = "user"',
    DeviceType.FRAMEBUFFER: "width = 640\nheight = 480",
}


@pytest.mark.parametrize("kind", DeviceType)
def test_it_has_the_machines_ports(kind: DeviceType, tmp_path: Path) -> None:
    file = tmp_path / "one.toml"
    file.write_text(TEXT.format(type=kind.value, backend=NEEDED.get(kind, "")))
    (device,) = load(file).system.devices
    assert device.last_port - device.first_port + 1 == PORT_COUNTS[kind]


def test_the_machines_devices_have_as_many() -> None:
    ports = {
        DeviceType.UART: Uart.PORTS,
        DeviceType.CLOCK: Clock.PORTS,
        DeviceType.ENTROPY: Entropy.PORTS,
        DeviceType.VIRTIO_BLOCK: VirtioDevice.PORTS,
        DeviceType.VIRTIO_NET: VirtioDevice.PORTS,
        DeviceType.FRAMEBUFFER: Framebuffer.PORTS,
    }
    assert ports == PORT_COUNTS


def test_there_is_no_device_that_a_description_cannot_name() -> None:
    assert {kind.value for kind in DeviceKind} == {kind.value for kind in DeviceType}


def test_whose_registers_are_mapped_has_a_page_of_memory(tmp_path: Path) -> None:
    file = tmp_path / "one.toml"
    for kind in DeviceType:
        more = NEEDED.get(kind, "") + "\nmaps_registers = true"
        file.write_text(TEXT.format(type=kind.value, backend=more))
        if kind is DeviceType.FRAMEBUFFER:
            continue  # tests/manifests/bad/framebuffer-registers.toml
        (device,) = load(file).system.devices
        assert (device.memory, device.maps_registers) == (4096, True)


def test_a_framebuffer_has_memory_and_no_other_device_does(tmp_path: Path) -> None:
    file = tmp_path / "one.toml"
    for kind in DeviceType:
        file.write_text(TEXT.format(type=kind.value, backend=NEEDED.get(kind, "")))
        (device,) = load(file).system.devices
        assert (device.memory, device.display is not None) == (
            (1 << 21, True) if kind is DeviceType.FRAMEBUFFER else (0, False)
        )
