"""Files as memory in booted systems: two tasks, their pager, a namespace and a file system, each a process."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.system.supervisor import ROOT, Supervisor

SYSTEM = """
[system]
name = "mapped"
paths = ["{root}"]
[machine]
ram = "512M"
{disk}
[task.vfs]
image = "servers.vfs.main"
provides = {{ files = "libsel4py.interfaces.namespace:Namespace" }}
uses = {{ disk = {{ from = "disk.root", rights = "wgp" }} }}
[task.vfs.config]
mounts = {{ "/" = "disk" }}
clients = {{ client = "rw /", other = "rw /", reader = "r /" }}

[task.pager]
image = "servers.pager.main"
priority = 150
pool = "4M"
slot_bits = 12
restart = "always"
config = {{ files = 262144, outlived = "anew" }}
uses = {{ disk = {{ from = "disk.root", rights = "wgp" }} }}
[task.pager.provides]
pager = "libsel4py.interfaces.pager:PagerStatistics"
maps = "libsel4py.interfaces.mapped_files:MappedFiles"

[task.client]
image = "tests.system.images.file_mapping"
memory = "64M"
pool = "2M"
essential = true
pager = "pager"
paged = "64K"
config = {{ scene = "{scene}" }}
grants = ["system-information"]
[task.client.uses]
files = {{ from = "vfs.files", rights = "wgp" }}
maps = {{ from = "pager.maps", rights = "wgp" }}
pager = "pager.pager"
other = "other.map"
reader = "reader.map"

[task.other]
image = "tests.system.images.file_mapped"
memory = "64M"
pool = "2M"
restart = "always"
pager = "pager"
paged = "64K"
provides = {{ map = "tests.system.images.file_mapped:Mapped" }}
[task.other.uses]
files = {{ from = "vfs.files", rights = "wgp" }}
maps = {{ from = "pager.maps", rights = "wgp" }}

[task.reader]
image = "tests.system.images.file_mapped"
memory = "64M"
pool = "2M"
pager = "pager"
paged = "64K"
provides = {{ map = "tests.system.images.file_mapped:Mapped" }}
[task.reader.uses]
files = {{ from = "vfs.files", rights = "wgp" }}
maps = {{ from = "pager.maps", rights = "wgp" }}
"""
RAM = """
[task.disk]
image = "tests.system.images.file_server"
memory = "64M"
pool = "1M"
slot_bits = 11
restart = "always"
provides = { root = "libsel4py.interfaces.file:Directory", hold = "tests.system.images.file_server:Hold" }
config = { bytes = 8388608, pager = "pager" }
"""
LITTLEFS = """
[machine.devices.disk0]
type = "virtio-block"
port = 0x1000
irq = 5
image = "disk.img"

[task.block]
image = "servers.block.main"
priority = 180
restart = "always"
provides = { disk = "libsel4py.interfaces.block:Block" }
devices = { disk = { device = "disk0", io_space = "4K" } }

[task.disk]
image = "servers.littlefs.main"
memory = "64M"
pool = "4M"
slot_bits = 11
restart = "always"
uses = { disk = { from = "block.disk", rights = "wgp" } }
provides = { root = "libsel4py.interfaces.file:Directory" }
config = { format = true, pager = "pager" }
"""
SCENES = ["reads", "shares", "copies", "shrinks", "evicts", "outlived", "attacks", "hammers", "restarted"]


def boot(sel4py: Supervisor, folder: Path, scene: str, disk: str, more: str = "") -> None:
    text = SYSTEM.format(root=ROOT, disk=disk, scene=scene)
    description = folder / "mapped.toml"
    description.write_text(text.replace('other = "other.map"', f'other = "other.map"{more}'))
    ended = sel4py.run("up", description)
    logs = "" if not ended.status else sel4py.run("logs", "--system", "mapped").output
    assert ended.status == 0, f"{ended}\n{logs}"


@pytest.mark.parametrize("scene", SCENES)
def test_files_in_memory_are_mapped(sel4py: Supervisor, tmp_path: Path, scene: str) -> None:
    boot(sel4py, tmp_path, scene, RAM)


@pytest.mark.parametrize("scene", ["shares", "evicts", "restarted"])
def test_files_of_a_disk_are_mapped(sel4py: Supervisor, tmp_path: Path, scene: str) -> None:
    (tmp_path / "disk.img").write_bytes(bytes(4 << 20))
    boot(sel4py, tmp_path, scene, LITTLEFS)


def test_the_guides_program_runs_as_its_description_says(sel4py: Supervisor, tmp_path: Path) -> None:
    guide = (ROOT / "docs" / "guide" / "files.md").read_text(encoding="utf-8")
    (program,) = [each for each in re.findall(r"```python\n(.*?)```", guide, re.DOTALL) if "files.map(" in each]
    (tasks,) = [each for each in re.findall(r"```toml\n(.*?)```", guide, re.DOTALL) if "[task.counter]" in each]
    (tmp_path / "counter.py").write_text(program)
    description = tmp_path / "counting.toml"
    essential = "[task.counter]\nessential = true"
    tasks = tasks.replace('"apps.counter.main"', '"counter"').replace("[task.counter]", essential)
    description.write_text(f'[system]\nname = "counting"\npaths = ["{ROOT}", "{tmp_path}"]\n{tasks}')
    ended = sel4py.run("up", description)
    logs = "" if not ended.status else sel4py.run("logs", "--system", "counting").output
    assert ended.status == 0, f"{ended}\n{logs}"


def test_who_waits_for_a_page_when_the_file_system_is_killed_has_a_memory_error(
    sel4py: Supervisor, tmp_path: Path
) -> None:
    boot(sel4py, tmp_path, "killed", RAM, '\nhold = "disk.hold"')
