"""The machine's devices, as `sel4py inspect devices` shows them: where they are, what they do by DMA, how they are."""

from __future__ import annotations

from hw.machine import DeviceDescription, Machine


def devices(machine: Machine, descriptions: tuple[DeviceDescription, ...]) -> list[object]:
    """A row a device, by number. DMA is counted since this kernel was started."""
    return [_row(machine, number, description) for number, description in enumerate(descriptions)]


def _row(machine: Machine, number: int, description: DeviceDescription) -> dict[str, object]:
    device = machine.bus.devices[number]
    dma = machine.iommu.statistics(number)
    network, memory = description.network, machine.description.device_memory[number]
    fault = machine.iommu.last_faults.get(number)
    return {
        "device": number,
        "name": description.name,
        "type": description.kind.value,
        "ports": f"0x{device.first_port:x}-0x{device.first_port + device.PORTS - 1:x}",
        "memory": None if memory is None else f"0x{memory.address:x}-0x{memory.end - 1:x}",
        "irq": device.irq,
        "line": "high" if device.raised() else "low",
        "read_bytes": dma.read_bytes,
        "written_bytes": dma.written_bytes,
        "faults": dma.faults,
        "last_fault": None if fault is None else f"{fault.kind.name} at 0x{fault.address:x}",
        "state": device.report() | ({"forwards": list(network.forwards)} if network and network.forwards else {}),
    }
