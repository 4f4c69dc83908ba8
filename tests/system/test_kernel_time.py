"""What the kernel does outside of system calls is paid for by whoever has it done: a task with a budget cannot keep it
busy."""

from __future__ import annotations

import os
import select
from pathlib import Path

from deploy.management import Management
from tests.system.supervisor import ROOT, SECONDS, Supervisor
from tests.system.test_budgets import usage

BUDGET_MS, PERIOD_MS = 4, 40
MEASURED_S = 2
FIRST_S = 1  # for the task to begin

DESCRIPTION = f"""
[system]
name = "demanding"
paths = ["{ROOT}"]

[machine]
ram = "192M"

[machine.devices.disk0]
type = "virtio-block"
port = 0x1000
irq = 5
image = "disk.img"
size = "1M"

[task.demanding]
image = "tests.system.images.IMAGE"
budget = "{BUDGET_MS}ms"
period = "{PERIOD_MS}ms"
memory = "32M"
pool = "32M"
devices = {{ disk = {{ device = "disk0", io_space = "4K" }} }}
"""


def kernel_s_share(sel4py: Supervisor, folder: Path, image: str) -> float:
    """How much of a processor it uses while such a task runs."""
    description = folder / "demanding.toml"
    description.write_text(DESCRIPTION.replace("IMAGE", image))
    sel4py.ok("up", description, "--detach")
    with Management(sel4py.folder / "demanding", SECONDS) as management:
        status = management.request("status")
    assert isinstance(status, dict)
    with os.fdopen(os.pidfd_open(int(status["pid"]))) as descriptor:
        assert not select.select([descriptor], [], [], FIRST_S)[0], "the kernel ended"
        before = usage(int(status["pid"]))
        assert not select.select([descriptor], [], [], MEASURED_S)[0], "the kernel ended"
        used, _, took = (later - earlier for later, earlier in zip(usage(int(status["pid"])), before, strict=True))
    print(f"{used / took:.1%} of a processor")
    return used / took


def test_a_driver_s_requests_do_not_keep_the_kernel_busy(sel4py: Supervisor, tmp_path: Path) -> None:
    share = kernel_s_share(sel4py, tmp_path, "demanding_disk_driver")
    (disk,) = sel4py.rows("inspect", "devices")
    assert int(str(disk["written_bytes"])) > 1 << 20, "the driver had nothing read"
    sel4py.ok("down")
    assert share < 2 * BUDGET_MS / PERIOD_MS


def test_frames_on_their_way_do_not_keep_the_kernel_busy(sel4py: Supervisor, tmp_path: Path) -> None:
    share = kernel_s_share(sel4py, tmp_path, "mapping_again")
    sel4py.ok("down")
    assert BUDGET_MS / PERIOD_MS / 10 < share < 2 * BUDGET_MS / PERIOD_MS
