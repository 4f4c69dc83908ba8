"""sigma0 as a server of a real system: two tasks take its memory, map it and write to it."""

from __future__ import annotations

from pathlib import Path

from tests.system.supervisor import ROOT, Supervisor

POOL_KIB = 256
SYSTEM = f"""
[system]
name = "sigma0"
paths = ["{ROOT}"]

[machine]
ram = "256M"

[task.sigma0]
image = "servers.sigma0.main"
priority = 150
pool = "{POOL_KIB}K"
provides = {{ sigma0 = "libsel4py.interfaces.sigma0:Sigma0" }}

[task.other]
image = "tests.system.images.settler"
provides = {{ settler = "tests.system.images.settler:Settler" }}
uses = {{ sigma0 = "sigma0.sigma0" }}

[task.client]
image = "tests.system.images.settling"
essential = true
config = {{ pool = {POOL_KIB << 10} }}
uses = {{ sigma0 = "sigma0.sigma0", other = "other.settler" }}
"""


def test_each_page_is_handed_out_once_and_is_memory(sel4py: Supervisor, tmp_path: Path) -> None:
    description = tmp_path / "sigma0.toml"
    description.write_text(SYSTEM)
    ended = sel4py.run("up", description)
    logs = "" if not ended.status else sel4py.run("logs", "--system", "sigma0").output
    assert ended.status == 0, f"{ended}\n{logs}"
