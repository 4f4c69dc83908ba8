"""The network server is killed, again and again: who listens and who sends datagrams goes on, connections are reset."""

from __future__ import annotations

from pathlib import Path

import pytest

from servers.network.stack import is_built
from tests.system.supervisor import ROOT, Supervisor

pytestmark = pytest.mark.skipif(not is_built(), reason="this tree was built without lwIP (sel4py doctor)")

CLIENTS = '{ survivor = "listen tcp 80, listen udp 80", visitor = "connect tcp *, connect udp *, listen udp *" }'
SYSTEM = """
[system]
name = "surviving"
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
config = {{ stack = "lwip", clients = {clients} }}

[task.survivor]
image = "tests.system.images.net_survivor"
essential = true
grants = ["system-information"]
threads = 1
pool = "4M"
slot_bits = 10
config = {{ scene = "{scene}" }}
uses = {{ network = {{ from = "network.network", rights = "rwgp" }} }}

[task.visitor]
image = "tests.system.images.net_visitor"
essential = true
pool = "4M"
slot_bits = 10
config = {{ scene = "{scene}" }}
grants = ["system-information"]
uses = {{ network = {{ from = "network.network", rights = "rwgp" }} }}
"""


@pytest.mark.parametrize(
    "scene", ["datagrams", *(pytest.param(each, marks=pytest.mark.slow) for each in ("asyncio", "streams"))]
)
def test_who_listens_goes_on_after_the_network_servers_death(sel4py: Supervisor, tmp_path: Path, scene: str) -> None:
    description = tmp_path / "surviving.toml"
    description.write_text(SYSTEM.format(root=ROOT, scene=scene, clients=CLIENTS))
    ended = sel4py.run("up", description)
    logs = sel4py.run("logs", "--system", "surviving").output

    assert ended.status == 0, f"{ended}\n{logs}"
    assert "Traceback" not in logs, logs
