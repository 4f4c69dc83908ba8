"""Servers that work on their clients' memory, as real processes: packets, their destruction, and floods."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.system.supervisor import ROOT, Supervisor

DEPTH = 4
HEAD = f"""
[system]
name = "pools"
paths = ["{ROOT}"]
"""
SERVER = """
[task.server{number}]
image = "tests.system.images.pooled"
memory = "16M"
provides = {{ pooled = "tests.system.images.pooled:Pooled" }}
uses = {{ {uses} }}
"""
BANK = """
[task.bank]
image = "tests.system.images.banking"
memory = "16M"
provides = { bank = "tests.system.images.pooled:Bank" }
"""
ACTIVITIES = """
[task.activities]
image = "servers.activities.main"
memory = "16M"
slot_bits = 10
provides = { activities = "libsel4py.interfaces.activity:Activities" }
"""
FLOODER = """
[task.flooder]
image = "tests.system.images.flooding"
memory = "16M"
pool = "256K"
provides = { flood = "tests.system.images.flooding:Flood" }
uses = { service = { from = "server0.pooled", rights = "wgp" } }
"""
DONOR = """
[task.donor]
image = "tests.system.images.donor"
memory = "16M"
pool = "256K"
restart = "always"
provides = { donor = "tests.system.images.donor:Donor" }
uses = { service = { from = "server0.pooled", rights = "wgp" } }
"""
CLIENT = """
[task.client]
image = "{image}"
memory = "16M"
essential = true
grants = ["system-information"]
config = {{ scene = "{scene}" }}
threads = {threads}
uses = {{ service = {{ from = "server0.pooled", rights = "wgp" }}{more} }}
"""


BANKED = f"""{HEAD}
[task.treasury]
image = "tests.system.images.treasury"
memory = "16M"
pool = "512K"
[task.treasury.provides]
treasury = "tests.system.images.treasury:Treasury"
keeper = "libsel4py.interfaces.space_keeper:SpaceKeeper"

[task.buyer]
image = "tests.system.images.buyer"
memory = "16M"
restart = "always"
provides = {{ buyer = "tests.system.images.buyer:Buyer" }}
uses = {{ treasury = "treasury.treasury", keeper = "treasury.keeper" }}

[task.auditor]
image = "tests.system.images.auditor"
memory = "16M"
essential = true
grants = ["system-information"]
uses = {{ treasury = "treasury.treasury", buyer = "buyer.buyer" }}
"""


def run(
    sel4py: Supervisor,
    folder: Path,
    scene: str,
    *more: str,
    depth: int,
    uses: str,
    threads: int = 0,
    image: str = "tests.system.images.paying",
) -> None:
    """Boot a row of servers and the client, which ends the system with 0 if its scene held."""
    text = [HEAD, *more]
    for number in range(depth):
        further = f'further = {{ from = "server{number + 1}.pooled", rights = "wgp" }}' if number + 1 < depth else ""
        if number + 1 == depth and "bank" in uses:
            further = 'bank = "bank.bank"'
        text.append(SERVER.format(number=number, uses=further))
    text.append(CLIENT.format(scene=scene, more=f", {uses}" if uses else "", threads=threads, image=image))
    boot(sel4py, folder, "".join(text))


def boot(sel4py: Supervisor, folder: Path, text: str) -> None:
    """Boot a system whose essential task ends it with 0 if all held."""
    description = folder / "pools.toml"
    description.write_text(text)
    ended = sel4py.run("up", description)
    logs = "" if not ended.status else sel4py.run("logs", "--system", "pools").output
    assert ended.status == 0, f"{ended}\n{logs}"


@pytest.mark.parametrize(("scene", "more"), [("paid", ""), ("destroyed", BANK)])
def test_four_servers_work_on_one_packet(sel4py: Supervisor, tmp_path: Path, scene: str, more: str) -> None:
    servers = ", ".join(f'server{number} = "server{number}.pooled"' for number in range(DEPTH))
    bank = ', bank = { from = "bank.bank", rights = "wgp" }' if more else ""
    run(sel4py, tmp_path, scene, more, depth=DEPTH, uses=servers + bank)


@pytest.mark.parametrize("scene", ["charged", "undone"])
def test_VIE02_an_activity_pays_for_a_request_four_calls_deep_and_its_end_takes_all(
    sel4py: Supervisor, tmp_path: Path, scene: str
) -> None:
    servers = ", ".join(f'server{number} = "server{number}.pooled"' for number in range(DEPTH))
    uses = f'{servers}, activities = {{ from = "activities.activities", rights = "wgp" }}'
    more = [ACTIVITIES]
    if scene == "undone":
        uses += ', bank = { from = "bank.bank", rights = "wgp" }'
        more.append(BANK)
    run(sel4py, tmp_path, scene, *more, depth=DEPTH, uses=uses)


def test_a_server_is_told_of_a_client_that_took_its_memory_back_or_ended(sel4py: Supervisor, tmp_path: Path) -> None:
    mayfly = CLIENT.replace("[task.client]", "[task.mayfly]").replace("essential = true\n", "")
    mayfly = mayfly.format(scene="leaves", more="", threads=0, image="tests.system.images.paying")
    run(sel4py, tmp_path, "told", mayfly, depth=1, uses="")


def test_a_flood_exhausts_its_own_memory_and_others_go_on(sel4py: Supervisor, tmp_path: Path) -> None:
    run(sel4py, tmp_path, "flooded", FLOODER, depth=1, uses='flooder = "flooder.flood"', threads=1)


def test_a_task_that_hoards_is_refused_and_goes_on_and_so_do_others(sel4py: Supervisor, tmp_path: Path) -> None:
    run(sel4py, tmp_path, "", depth=1, uses="", image="tests.system.images.hoarder")


def test_GEN05_a_sessions_quota_is_upgraded_and_comes_back_from_clients_that_are_killed(
    sel4py: Supervisor, tmp_path: Path
) -> None:
    run(sel4py, tmp_path, "upgraded", DONOR, depth=1, uses='donor = "donor.donor"')


def test_GEN05_slots_that_clients_pay_are_exhausted_by_them_alone_and_come_back_when_they_are_killed(
    sel4py: Supervisor, tmp_path: Path
) -> None:
    run(sel4py, tmp_path, "shelved", DONOR, depth=1, uses='donor = "donor.donor"')


def test_KK04_the_keeper_is_asked_at_a_banks_limit_and_nothing_is_left_of_a_killed_buyer(
    sel4py: Supervisor, tmp_path: Path
) -> None:
    boot(sel4py, tmp_path, BANKED)
