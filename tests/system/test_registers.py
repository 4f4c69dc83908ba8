"""Device frames are devices' registers: each load and store of a driver is the device's, whatever dies meanwhile."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from tests.memory_rows import check_sums
from tests.system.supervisor import ROOT, Supervisor
from tests.system.test_framebuffer import wait_said
from tests.system.test_kernel_restart import Kernel

KILLS = 20
SYSTEM = """
[system]
name = "registers"
paths = ["{root}"]

[machine]
ram = "1G"

[machine.devices.serial0]
type = "uart"
port = 0x3F8
irq = 4
backend = "pty"
maps_registers = true

[machine.devices.disk0]
type = "virtio-block"
port = 0x1000
irq = 5
image = "disk.img"
size = "64K"
maps_registers = true

[machine.devices.entropy0]
type = "entropy"
port = 0x100
irq = 6

[task.driver]
image = "tests.system.images.registers"
memory = "256M"
config = {{ scene = "{scene}" }}
{more}

[task.driver.devices]
serial = "serial0"
disk = {{ device = "disk0", io_space = "4K" }}
rng = {{ device = "entropy0", io_space = "4K" }}
"""


def describe(folder: Path, scene: str, more: str = "") -> Path:
    description = folder / "registers.toml"
    description.write_text(SYSTEM.format(root=ROOT, scene=scene, more=more))
    return description


@pytest.mark.parametrize("scene", ["same", "taken", "refused"])
def test_a_driver_s_loads_and_stores_are_its_device_s(sel4py: Supervisor, tmp_path: Path, scene: str) -> None:
    ended = sel4py.run("up", describe(tmp_path, scene, "essential = true"))
    logs = "" if not ended.status else sel4py.run("logs", "--system", "registers").output
    assert ended.status == 0, f"{ended}\n{logs}"


def test_no_access_is_lost_or_done_twice_where_kernels_die(sel4py: Supervisor, tmp_path: Path) -> None:
    sel4py.ok("up", describe(tmp_path, "loops"), "--detach")
    kernel = Kernel(sel4py, "registers")
    wait_said(sel4py, "driver", "round 0")
    for _ in range(KILLS):
        kernel.kill()
    rounds = sel4py.ok("logs", "driver").count("round")
    while (log := sel4py.ok("logs", "driver")).count("round") == rounds:
        assert "Error" not in log, log
    assert kernel.sound()
    (driver,) = [row for row in sel4py.rows("ps") if row["name"] == "driver"]
    assert (driver["state"], driver["restarts"]) == ("RUNNING", 0)
    sel4py.ok("down")


def test_they_outlive_drivers_and_kernels_and_a_resumed_system_s_are_reset(sel4py: Supervisor, tmp_path: Path) -> None:
    sel4py.ok("up", describe(tmp_path, "scratch", 'restart = "always"'), "--detach")
    wait_said(sel4py, "driver", "found 0")
    sel4py.ok("kill", "driver")
    wait_said(sel4py, "driver", "found 1")
    kernel = Kernel(sel4py, "registers")
    kernel.kill()
    sel4py.ok("kill", "driver")
    wait_said(sel4py, "driver", "found 2")
    check_sums(found := cast(dict[str, Any], sel4py.result("inspect", "memory")))
    (of_serial,), (of_disk,) = (each["children"] for each in found["devices"])
    assert [(each["bytes"], each["free"]) for each in (of_serial, of_disk)] == [(4096, 0), (4096, 4096)]
    rows = {row["name"]: row["memory"] for row in sel4py.rows("inspect", "devices")}
    assert (rows["entropy0"], rows["serial0"] != rows["disk0"]) == (None, True)
    file = tmp_path / "file"
    sel4py.ok("suspend", file)
    assert sel4py.result("fsck", "--image", file) == {"broken": []}
    sel4py.ok("resume", file, "--detach")
    wait_said(sel4py, "driver", "found 0")
    assert sel4py.result("fsck") == {"broken": []}
    sel4py.ok("down")


def test_an_access_that_is_none_to_a_register_stops_its_thread(sel4py: Supervisor, tmp_path: Path) -> None:
    sel4py.ok("up", describe(tmp_path, "slices"), "--detach")
    while "The thread faulted" not in (why := sel4py.ok("why", "driver")):
        continue
    assert "a device's register" in why
    assert "no plain load or store" in why
    sel4py.ok("down")
