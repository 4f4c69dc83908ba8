"""A hostile client of each server, one after the other: nothing ends, nothing is restarted, all go on to serve."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from servers.network.stack import is_built
from tests.system.supervisor import ROOT, Supervisor

TARGETS = (
    *("activities", "block", "clock", "console", "constructor", "datastore", "ethernet", "littlefs", "mapper", "names"),
    *("network", "pager", "pong", "ramfs", "serial", "sigma0", "spaces", "store", "supervision", "system", "vfs"),
)
# Methods by a number that the server has given before: what is done at random never comes as far.
SOCKETS = "bind|listen|ends|wait|send|receive|hand_on|shutdown|set_prompt|arm|accept|connect"
NUMBERS = "(?:read|write|overwrite|append|size|truncate|sync|identity|reclaim)_number|file|read_piece|write_piece"
BEHIND = {"network": SOCKETS, "littlefs": NUMBERS, "ramfs": NUMBERS, "block": "read|write|transfer|commit"}
IMAGE = "hostile.img"
SUPERVISOR = 'image = "servers.reincarnation.main"\n'
# Beside the workstation's servers: drivers of devices of the attacker's own, and those who manage memory.
MORE = """
[machine.devices.uart1]
type = "uart"
port = 0x2F8
irq = 8
backend = "pty"

[machine.devices.disk1]
type = "virtio-block"
port = 0x3000
irq = 9
image = "attacked.img"
size = "8M"

[machine.devices.net1]
type = "virtio-net"
port = 0x4000
irq = 10
backend = "user"

[task.serial1]
image = "servers.serial.main"
priority = 200
provides = { serial = "libsel4py.interfaces.serial:Serial" }
devices = { uart = "uart1" }

[task.block1]
image = "servers.block.main"
priority = 170
provides = { disk = "libsel4py.interfaces.block:Block" }
devices = { disk = { device = "disk1", io_space = "4K" } }

[task.ethernet1]
image = "servers.ethernet.main"
priority = 175
pool = "256K"
slot_bits = 10
provides = { card = "libsel4py.interfaces.ethernet:Ethernet" }
devices = { card = { device = "net1", io_space = "4K" } }

[task.sigma0]
image = "servers.sigma0.main"
priority = 150
pool = "256K"
provides = { sigma0 = "libsel4py.interfaces.sigma0:Sigma0" }

[task.pager]
image = "servers.pager.main"
priority = 150
pool = "4M"
slot_bits = 12
provides = { pager = "libsel4py.interfaces.pager:PagerStatistics" }

[task.paged]
image = "apps.pong.main"
pager = "pager"
paged = "64K"

[task.mapper]
image = "servers.mapper.main"
priority = 150
pool = "256K"
config = { owner = "attacker" }
provides = { mapper = "libsel4py.interfaces.mapper:Mapper" }

[task.constructor]
image = "servers.constructor.main"
priority = 150
provides = { meta = "libsel4py.interfaces.constructor:MetaConstructor" }
grants = ["sched-control"]
images = ["apps.vendor.adviser"]

[task.datastore]
image = "servers.datastore.main"
priority = 150
provides = { store = "libsel4py.interfaces.data_store:DataStore" }

[task.activities]
image = "servers.activities.main"
priority = 150
slot_bits = 10
provides = { activities = "libsel4py.interfaces.activity:Activities" }

[task.clock]
image = "servers.clock.main"
priority = 150
provides = { clock = "libsel4py.interfaces.clock:Clock" }

[task.spaces]
image = "servers.dataspaces.main"
priority = 150
pool = "2M"
slot_bits = 10
provides = { data = "libsel4py.interfaces.data_space:DataSpaces" }
uses = { files = { from = "ramfs.files", rights = "wgp" } }

[task.attacker]
image = "tests.system.images.hostile_client"
essential = true
pager = "mapper"
paged = "64K"
memory = "64M"
pool = "8M"
slot_bits = 12
grants = ["system-information"]
config = { seed = 5, messages = %d, only = "%s" }
names = { pong = "pong.pong", store = "store.store" }

[task.attacker.uses]
console = "console.console"
names = "names.names"
pong = "pong.pong"
store = "store.store"
serial = "serial1.serial"
pager = "pager.pager"
supervision = "reincarnation.supervision"
constructor = { from = "constructor.meta", rights = "wgp" }
datastore = { from = "datastore.store", rights = "wgp" }
sigma0 = "sigma0.sigma0"
mapper = "mapper.mapper"
clock = "clock.clock"
activities = { from = "activities.activities", rights = "wgp" }
spaces = { from = "spaces.data", rights = "wgp" }
block = { from = "block1.disk", rights = "wgp" }
littlefs = { from = "littlefs.files", rights = "wgp" }
ramfs = { from = "ramfs.files", rights = "wgp" }
vfs = { from = "vfs.files", rights = "wgp" }
network = { from = "network.network", rights = "rwgp" }
ethernet = { from = "ethernet1.card", rights = "rwgp" }
"""
RULES = "connect tcp *, connect udp *, listen tcp *, listen udp *, resolve, ping *"


def attacked(sel4py: Supervisor, folder: Path, messages: int, only: str = "", seconds: float = 100) -> dict[str, str]:
    """The workstation without its shell, where nothing is started again, and an attacker; what that says of each."""
    text = (ROOT / "deploy" / "systems" / "workstation.toml").read_text()
    text = text[: text.index("[task.shell]")].replace("workstation.img", IMAGE).replace('restart = "always"\n', "")
    text = text.replace(SUPERVISOR, f'{SUPERVISOR}restart = "always"\n')
    text = text.replace('ram = "1G"', 'ram = "1280M"')
    text = text.replace('shell = "rw /"', 'attacker = "rw /"')
    text = text.replace('shell = "connect tcp *, resolve, ping *"', f'attacker = "{RULES}"')
    path = folder / "hostile.toml"
    path.write_text(f'[system]\nname = "hostile"\npaths = ["{ROOT}"]\n\n{text}{MORE % (messages, only)}')
    ended = sel4py.run("up", path, seconds=seconds)
    assert ended.status == 0, sel4py.run("logs", "--system", "hostile").output
    sel4py.ok("disk", "check", folder / IMAGE)
    return dict(re.findall(r"^@(\w+) \(\S+\): (.*)", ended.output, re.MULTILINE))


@pytest.mark.skipif(not is_built(), reason="this tree was built without lwIP (sel4py doctor)")
def test_no_server_is_taken_down(sel4py: Supervisor, tmp_path: Path) -> None:
    said = attacked(sel4py, tmp_path, messages=400)
    assert sorted(said) == sorted(TARGETS)
    for name, methods in BEHIND.items():
        assert re.search(rf"'(?:{methods})': \d", said[name]), f"{name}: nothing but first checks was met: {said[name]}"


@pytest.mark.long
@pytest.mark.timeout(1300)
@pytest.mark.skipif(not is_built(), reason="this tree was built without lwIP (sel4py doctor)")
@pytest.mark.parametrize("only", TARGETS)
def test_no_server_is_taken_down_by_many_messages(sel4py: Supervisor, tmp_path: Path, only: str) -> None:
    print(attacked(sel4py, tmp_path, 100_000, only, seconds=1200))
