"""A driver that breaks virtio's rules, in a booted system: the device stops, the log says why, the kernel goes on."""

from __future__ import annotations

from pathlib import Path

from hw.devices.virtio_registers import Cause
from tests.system.supervisor import ROOT, Supervisor

DESCRIPTION = f"""
[system]
name = "hostile"
paths = ["{ROOT}"]

[machine.devices.uart0]
type = "uart"
port = 0x3F8
irq = 4

[machine.devices.disk0]
type = "virtio-block"
port = 0x1000
irq = 5
image = "disk.img"
size = "1M"

[task.driver]
image = "tests.system.images.hostile_disk_driver"
devices = {{ disk = {{ device = "disk0", io_space = "4K" }}, uart = "uart0" }}
"""


def test_a_device_stops_and_the_system_goes_on(sel4py: Supervisor, tmp_path: Path) -> None:
    description = tmp_path / "hostile.toml"
    description.write_text(DESCRIPTION)
    terminal = sel4py.terminal("up", description)
    terminal.until(b"survived")
    assert sel4py.result("fsck") == {"broken": []}
    uart, disk = sel4py.rows("inspect", "devices")
    assert (uart["name"], uart["ports"], disk["type"]) == ("uart0", "0x3f8-0x3ff", "virtio-block")
    assert disk["state"]["needs_reset"] in {cause.explanation for cause in Cause}  # type: ignore[index]
    assert "NEEDS_RESET" in disk["state"]["status"]  # type: ignore[index]
    assert disk["faults"]
    log = sel4py.ok("logs", "kerneld")
    for cause in (Cause.BAD_REQUEST, Cause.BAD_CHAIN, Cause.DMA_FAULT, Cause.BAD_INDEX):
        assert f"device disk0 needs a reset, for what its driver has done: {cause.explanation}\n" in log
    second = tmp_path / "second.toml"
    second.write_text(DESCRIPTION.replace('"hostile"', '"second"'))
    refused = sel4py.run("up", second)
    assert refused.status != 0
    assert f"device disk0: the disk image {tmp_path / 'disk.img'} is in use by another system" in refused.error
    sel4py.ok("down")
    assert terminal.wait() == 0
