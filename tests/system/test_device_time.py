"""What the kernel does for a device is paid for by whoever has rung it: a driver with a budget cannot keep it busy."""

from __future__ import annotations

import os
import select
from pathlib import Path

from deploy.management import Management
from tests.system.supervisor import ROOT, SECONDS, Supervisor
from tests.system.test_budgets import usage

BUDGET_MS, PERIOD_MS = 4, 40
MEASURED_S = 2
FIRST_S = 1  # for the driver to begin

DESCRIPTION = f"""
[system]
name = "demanding"
paths = ["{ROOT}"]

[machine.devices.disk0]
type = "virtio-block"
port = 0x1000
irq = 5
image = "disk.img"
size = "1M"

[task.driver]
image = "tests.system.images.demanding_disk_driver"
budget = "{BUDGET_MS}ms"
period = "{PERIOD_MS}ms"
memory = "32M"
pool = "4M"
devices = {{ disk = {{ device = "disk0", io_space = "4K" }} }}
"""


def test_a_driver_with_a_budget_does_not_keep_the_kernel_busy(sel4py: Supervisor, tmp_path: Path) -> None:
    description = tmp_path / "demanding.toml"
    description.write_text(DESCRIPTION)
    sel4py.ok("up", description, "--detach")
    with Management(sel4py.folder / "demanding", SECONDS) as management:
        kernel = int(management.request("status")["pid"])  # type: ignore[call-overload,index]
    with os.fdopen(os.pidfd_open(kernel)) as descriptor:
        assert not select.select([descriptor], [], [], FIRST_S)[0]
        before, read_before = usage(kernel), written(sel4py)
        assert not select.select([descriptor], [], [], MEASURED_S)[0], "the kernel ended"
        used, _, took = (later - earlier for later, earlier in zip(usage(kernel), before, strict=True))
    share = used / took
    read = written(sel4py) - read_before
    sel4py.ok("down")
    assert read, "the driver had nothing read"
    print(f"{share:.1%} of a processor, {read / MEASURED_S / 2**20:.0f} MiB/s")
    assert share < 2 * BUDGET_MS / PERIOD_MS


def written(sel4py: Supervisor) -> int:
    """Bytes that the disk has put into RAM."""
    (disk,) = sel4py.rows("inspect", "devices")
    return int(str(disk["written_bytes"]))
