"""A file system on a disk in a booted system: client, server, driver, device, image; and the host's commands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from littlefs import LittleFS
from littlefs.context import UserContext

from libsel4py.partitions import FIRST_SECTOR
from tests.system.supervisor import ROOT, Supervisor

DESCRIPTION = """
[system]
name = "littlefs"
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
{partitions}

[task.disk]
image = "servers.littlefs.main"
memory = "64M"
pool = "4M"
slot_bits = 11
uses = {{ disk = {{ from = "block.disk", rights = "wgp" }} }}
provides = {{ root = "libsel4py.interfaces.file:Directory" }}
config = {{ sessions = 64 }}

[task.client]
image = "tests.system.images.filing"
memory = "32M"
pool = "1M"
essential = true
config = {{ scene = "conforms" }}
uses = {{ disk = {{ from = "disk.root", rights = "wgp" }} }}
"""


@pytest.mark.parametrize("partition", [False, True])
def test_it_conforms_and_leaves_an_image_that_is_whole(sel4py: Supervisor, tmp_path: Path, partition: bool) -> None:
    image, source = tmp_path / "disk.img", tmp_path / "kept"
    source.write_bytes(b"of the host" * 1000)
    assert sel4py.run("disk", "create", image, "--size", "32M", *(["--partition"] if partition else [])).status == 0
    description = tmp_path / "littlefs.toml"
    partitions = "config = { partitions = { disk = 1 } }" if partition else ""
    description.write_text(DESCRIPTION.format(root=ROOT, partitions=partitions))
    ended = sel4py.run("up", description)
    logs = "" if not ended.status else sel4py.run("logs", "--system", "littlefs").output
    assert ended.status == 0, f"{ended}\n{logs}"
    checked = sel4py.run("disk", "check", image, "--json")
    assert checked.status == 0, checked
    found = json.loads(checked.output)["result"]
    assert found["problems"] == []
    assert not found["orphans"]
    assert sel4py.run("disk", "import", image, source, "/").status == 0
    data = bytearray(image.read_bytes()[FIRST_SECTOR * 512 if partition else 0 :])
    plain = LittleFS(UserContext(buffer=data), block_size=16384, block_count=len(data) // 16384, mount=False)
    plain.mount()
    with plain.open("kept", "rb") as reader:
        assert reader.read() == source.read_bytes()


def test_files_go_on_while_server_and_driver_are_killed(sel4py: Supervisor, tmp_path: Path) -> None:
    image = tmp_path / "disk.img"
    assert sel4py.run("disk", "create", image, "--size", "32M").status == 0
    description = tmp_path / "littlefs.toml"
    text = DESCRIPTION.format(root=ROOT, partitions="").replace('memory = "64M"', 'memory = "64M"\nrestart = "always"')
    text = text.replace('scene = "conforms"', 'scene = "goes_on"')
    description.write_text(text + 'grants = ["system-information"]\n')
    ended = sel4py.run("up", description)
    logs = "" if not ended.status else sel4py.run("logs", "--system", "littlefs").output
    assert ended.status == 0, f"{ended}\n{logs}"
    assert json.loads(sel4py.run("disk", "check", image, "--json").output)["result"]["problems"] == []
