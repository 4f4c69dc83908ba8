"""The network server as a process of its own, over a stack that speaks to itself: HTTP, asyncio, sessions, rules."""

from __future__ import annotations

from pathlib import Path

import pytest

from servers.network.stack import is_built
from tests.system.supervisor import ROOT, Supervisor

CLIENTS = '{ pages = "listen tcp 80", user = "connect tcp 127.0.0.0/8, listen tcp 90-101, ping *" }'
SYSTEM = """
[system]
name = "networking"
paths = ["{root}"]

[machine]
ram = "512M"

[machine.devices.clock0]
type = "clock"
port = 0x40
irq = 0

[task.network]
image = "tests.system.images.loopback_network"
priority = 180
restart = "always"
pool = "1M"
slot_bits = 12
devices = {{ clock = "clock0" }}
provides = {{ network = "libsel4py.interfaces.network:Network" }}
config = {{ stack = "{stack}", clients = {clients} }}

[task.pages]
image = "tests.system.images.net_pages"
threads = 1
pool = "8M"
slot_bits = 10
config = {{ scene = "{scene}" }}
uses = {{ network = {{ from = "network.network", rights = "rwgp" }} }}

[task.user]
image = "tests.system.images.net_user"
essential = true
threads = 2
pool = "4M"
slot_bits = 10
config = {{ scene = "{scene}" }}
uses = {{ network = {{ from = "network.network", rights = "rwgp" }} }}
"""


@pytest.mark.parametrize(
    "stack", ["loopback", pytest.param("lwip", marks=pytest.mark.skipif(not is_built(), reason="lwIP is not built"))]
)
@pytest.mark.parametrize("scene", ["pages", "asyncio", "calls", "taken_back", "rules", "late"])
def test_the_network_is_served(sel4py: Supervisor, tmp_path: Path, scene: str, stack: str) -> None:
    description = tmp_path / "networking.toml"
    description.write_text(SYSTEM.format(root=ROOT, scene=scene, stack=stack, clients=CLIENTS))
    ended = sel4py.run("up", description)
    logs = sel4py.run("logs", "--system", "networking").output

    assert ended.status == 0, f"{ended}\n{logs}"
