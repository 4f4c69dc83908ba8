"""A server is killed at random points while it counts: each increment is there, once, and no call fails of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.system.supervisor import ROOT, Supervisor

COUNTING = """
[system]
name = "counting"
paths = ["{root}"]

[task.counter]
image = "tests.system.images.counting"
restart = "always"
slot_bits = 7
provides = {{ counter = "tests.system.images.counting:Counter" }}
{state}

[task.client]
image = "tests.system.images.counting_on"
essential = true
threads = 3
uses = {{ counter = {{ from = "counter.counter", channel = "{channel}" }} }}
grants = ["system-information"]
config = {{ kills = {kills}, seed = {seed} }}
"""


def count(
    sel4py: Supervisor,
    folder: Path,
    kills: int,
    *,
    seed: int = 1,
    channel: str = "auto",
    state: str = 'state = "16K"',
    seconds: float = 300,
) -> None:
    description = folder / "counting.toml"
    description.write_text(COUNTING.format(root=ROOT, kills=kills, seed=seed, channel=channel, state=state))
    ended = sel4py.run("up", description, seconds=seconds)
    logs = "" if not ended.status else sel4py.run("logs", "--system", "counting").output
    assert ended.status == 0, f"{ended}\n{logs[-4000:]}"


@pytest.mark.parametrize("channel", ["never", "auto"])
def test_what_was_counted_is_there_once_whenever_the_server_is_killed(
    sel4py: Supervisor, tmp_path: Path, channel: str
) -> None:
    count(sel4py, tmp_path, 100, channel=channel)


@pytest.mark.long
@pytest.mark.timeout(5 * 3600)
def test_a_hundred_thousand_kills(sel4py: Supervisor, tmp_path: Path) -> None:
    count(sel4py, tmp_path, 100_000, seed=2, seconds=4 * 3600)


STORING = """
[system]
name = "storing"
paths = ["{root}"]

[task.datastore]
image = "servers.datastore.main"
restart = "always"
provides = {{ store = "libsel4py.interfaces.data_store:DataStore" }}
state = "64K"
state_slots = 4

[task.names]
image = "servers.names.main"
restart = "always"
provides = {{ names = "libsel4py.interfaces.names:Names" }}
state = "16K"
state_slots = 2
config = {{ open = ["echo"] }}

[task.pong]
image = "apps.pong.main"
provides = {{ pong = "libsel4py.interfaces.ping:Ping" }}

[task.client]
image = "tests.system.images.storing_on"
essential = true
threads = 1
grants = ["system-information"]

[task.client.uses]
store = {{ from = "datastore.store", rights = "wgp" }}
names = {{ from = "names.names", rights = "wgp" }}
pong = "pong.pong"
"""


def test_what_is_published_and_registered_is_there_whenever_the_servers_are_killed(
    sel4py: Supervisor, tmp_path: Path
) -> None:
    description = tmp_path / "storing.toml"
    description.write_text(STORING.format(root=ROOT))
    ended = sel4py.run("up", description)
    logs = "" if not ended.status else sel4py.run("logs", "--system", "storing").output
    assert ended.status == 0, f"{ended}\n{logs[-4000:]}"
