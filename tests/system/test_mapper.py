"""L4's map, grant, unmap and flush between real processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.system.supervisor import ROOT, Supervisor

MEMBERS = ("a", "b", "c", "d")
SCENES = (
    "unmap_write",
    "unmap_middle",
    "flush",
    "grant",
    "rights_shrink",
    "consent",
    "window",
    "death",
    "exhausted",
)
SYSTEM = f"""
[system]
name = "mapper"
paths = ["{ROOT}"]

[machine]
ram = "512M"

[task.mapper]
image = "servers.mapper.main"
priority = 150
pool = "256K"
config = {{ owner = "a" }}
provides = {{ mapper = "libsel4py.interfaces.mapper:Mapper" }}
"""
MEMBER = """
[task.{name}]
image = "tests.system.images.mapped_on"
pager = "mapper"
paged = "64K"
restart = "on-failure"
provides = {{ member = "tests.system.images.mapped_on:Member" }}
uses = {{ mapper = "mapper.mapper" }}
"""
CLIENT = """
[task.client]
image = "tests.system.images.mapping_on"
essential = true
config = {{ scene = "{scene}" }}
uses = {{ a = "a.member", b = "b.member", c = "c.member", d = "d.member" }}
"""


@pytest.mark.parametrize("scene", SCENES)
def test_pages_are_mapped_on_and_taken_back(sel4py: Supervisor, tmp_path: Path, scene: str) -> None:
    members = "".join(MEMBER.format(name=name) for name in MEMBERS)
    description = tmp_path / "mapper.toml"
    description.write_text(SYSTEM + members + CLIENT.format(scene=scene))
    ended = sel4py.run("up", description)
    logs = "" if not ended.status else sel4py.run("logs", "--system", "mapper").output
    assert ended.status == 0, f"{ended}\n{logs}"
