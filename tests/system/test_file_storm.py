"""Disk driver, file systems and namespace are killed while a client writes, syncs and reads: nothing synced is lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.system.supervisor import ROOT, Supervisor

DESCRIPTION = """
[system]
name = "storm"
paths = ["{root}"]

[machine.devices.disk0]
type = "virtio-block"
port = 0x1000
irq = 5
image = "disk.img"

[task.block]
image = "servers.block.main"
priority = 180
restart = "always"
provides = {{ disk = "libsel4py.interfaces.block:Block" }}
devices = {{ disk = {{ device = "disk0", io_space = "4K" }} }}

[task.littlefs]
image = "servers.littlefs.main"
memory = "32M"
pool = "4M"
slot_bits = 11
restart = "always"
uses = {{ disk = {{ from = "block.disk", rights = "wgp" }} }}
provides = {{ root = "libsel4py.interfaces.file:Directory" }}

[task.ramfs]
image = "servers.ramfs.main"
memory = "32M"
restart = "always"
provides = {{ root = "libsel4py.interfaces.file:Directory" }}
config = {{ bytes = 1048576 }}

[task.vfs]
image = "servers.vfs.main"
memory = "32M"
restart = "always"
state = "64K"
state_slots = 4
threads = 3
provides = {{ files = "libsel4py.interfaces.namespace:Namespace" }}
uses = {{ disk = {{ from = "littlefs.root", rights = "wgp" }}, ram = {{ from = "ramfs.root", rights = "wgp" }} }}
config = {{ mounts = {{ "/" = "disk", "/tmp" = "ram" }} }}

[task.client]
image = "tests.system.images.storming"
memory = "32M"
pool = "4M"
threads = 1
essential = true
config = {{ kills = {kills} }}
grants = ["system-information"]
uses = {{ files = {{ from = "vfs.files", rights = "wgp" }}, ram = {{ from = "ramfs.root", rights = "wgp" }} }}
"""


@pytest.mark.parametrize("kills", [4, pytest.param(60, marks=pytest.mark.slow)])
def test_nothing_that_was_synced_is_lost_whatever_is_killed(sel4py: Supervisor, tmp_path: Path, kills: int) -> None:
    image, description = tmp_path / "disk.img", tmp_path / "storm.toml"
    assert sel4py.run("disk", "create", image, "--size", "32M").status == 0
    description.write_text(DESCRIPTION.format(root=ROOT, kills=kills))
    ended = sel4py.run("up", description, seconds=60 + kills)
    logs = "" if not ended.status else sel4py.run("logs", "--system", "storm").output
    assert ended.status == 0, f"{ended}\n{logs}"
    assert json.loads(sel4py.run("disk", "check", image, "--json").output)["result"]["problems"] == []
