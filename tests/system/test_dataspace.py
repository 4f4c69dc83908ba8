"""Memory shared between real processes: in place, read-only where it is, and taken back at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.system.supervisor import ROOT, Supervisor

SYSTEM = """
[system]
name = "lending"
paths = ["{root}"]

[machine]
ram = "1G"

[task.server]
image = "tests.system.images.lent"
restart = "always"
memory = "{memory}"
slot_bits = 10
provides = {{ lent = "tests.system.images.lent:Lent" }}

[task.client]
image = "tests.system.images.lending"
essential = true
memory = "{memory}"
pool = "16M"
slot_bits = 10
config = {{ scene = "{scene}" }}
uses = {{ service = {{ from = "server.lent", rights = "rwgp" }} }}
{more}
"""


MEMORY = {"numpy": "256M"}  # its libraries take some for each processor


@pytest.mark.parametrize(
    ("scene", "more"),
    [
        ("shared", ""),
        ("numpy", ""),
        ("read_only", ""),
        ("revoked", ""),
        ("detached", ""),
        ("ring", "threads = 1"),
        ("killed", 'grants = ["system-information"]'),
    ],
)
def test_memory_is_lent(sel4py: Supervisor, tmp_path: Path, scene: str, more: str) -> None:
    description = tmp_path / "lending.toml"
    description.write_text(SYSTEM.format(root=ROOT, scene=scene, more=more, memory=MEMORY.get(scene, "32M")))
    ended = sel4py.run("up", description)
    logs = "" if not ended.status else sel4py.run("logs", "--system", "lending").output
    assert ended.status == 0, f"{ended}\n{logs}"
