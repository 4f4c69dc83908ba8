"""A server is killed at random points while it counts, or at each step: every increment is there, once, and no call
fails of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.system.supervisor import ROOT, Supervisor

COUNTING = """
[system]
name = "counting"
paths = ["{root}"]

[machine]
ram = "1G"

[task.client]
image = "tests.system.images.counting_on"
essential = true
threads = {threads}
grants = ["system-information"]
config = {{ kills = {kills}, seed = {seed} }}

[task.client.uses]
"""
CONNECTION = """counter{number} = {{ from = "counter{number}.counter", channel = "{channel}" }}
"""
COUNTER = """
[task.counter{number}]
image = "tests.system.images.counting"
restart = "always"
slot_bits = 7
provides = {{ counter = "tests.system.images.counting:Counter" }}
{state}
"""
THREADS = 3  # of the client, for each counter: one ends it, and two count


def count(
    sel4py: Supervisor,
    folder: Path,
    kills: int,
    *,
    counters: int = 1,
    seed: int = 1,
    channel: str = "auto",
    state: str = 'state = "16K"',
    seconds: float = 300,
) -> None:
    """``kills`` of all counters together."""
    description = folder / "counting.toml"
    description.write_text(
        COUNTING.format(root=ROOT, kills=kills // counters, seed=seed, threads=THREADS * counters)
        + "".join(CONNECTION.format(number=number, channel=channel) for number in range(counters))
        + "".join(COUNTER.format(number=number, state=state) for number in range(counters))
    )
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
    """Of four servers at a time, which is the quickest on two processors."""
    count(sel4py, tmp_path, 100_000, counters=4, seed=2, seconds=4 * 3600)


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

[machine]
ram = "1G"

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


STEPPING = """
[system]
name = "stepping"
paths = ["{root}"]

[machine]
ram = "1G"

[task.reincarnation]
image = "servers.reincarnation.main"
priority = 250
restart = "always"
grants = ["lifecycle"]
provides = {{ supervision = "libsel4py.interfaces.supervision:Supervision" }}

[task.counter]
image = "tests.system.images.stepping"
restart = "always"
state = "16K"
provides = {{ counter = "tests.system.images.stepping:Stepping" }}

[group.counting]
tasks = ["counter"]
strategy = "one_for_one"
intensity = 1000
period = "1s"

[task.client]
image = "tests.system.images.stepping_through"
essential = true
config = {{ method = "{method}" }}
uses = {{ counter = {{ from = "counter.counter", channel = "{channel}" }} }}
"""


@pytest.mark.slow
@pytest.mark.parametrize("method", ["step", "step_text", "step_oddly", "step_deferred"])
@pytest.mark.parametrize("channel", ["never", "auto"])
def test_a_request_whose_server_ends_at_any_step_of_it_is_carried_out_once(
    sel4py: Supervisor, tmp_path: Path, channel: str, method: str
) -> None:
    """At each line of Python between the request's taking and its answer, one after the other."""
    description = tmp_path / "stepping.toml"
    description.write_text(STEPPING.format(root=ROOT, channel=channel, method=method))
    ended = sel4py.run("up", description)
    logs = "" if not ended.status else sel4py.run("logs", "--system", "stepping").output
    assert ended.status == 0, f"{ended}\n{logs[-4000:]}"
