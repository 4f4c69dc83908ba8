"""A file system between real processes: conformance, attacks, exhaustion, restart."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.system.supervisor import ROOT, SECONDS, Supervisor

HEAD = f"""
[system]
name = "files"
paths = ["{ROOT}"]

[task.disk]
image = "servers.ramfs.main"
memory = "64M"
pool = "256K"
slot_bits = 11
provides = {{ root = "libsel4py.interfaces.file:Directory" }}
"""
CLIENT = """
[task.{name}]
image = "tests.system.images.filing"
memory = "32M"
pool = "1M"
essential = {essential}
config = {{ scene = "{scene}" }}
uses = {{ disk = {{ from = "disk.root", rights = "wgp" }}{more} }}
"""
OWNER = """
[task.owner]
image = "tests.system.images.handing"
memory = "32M"
pool = "1M"
provides = { handing = "tests.system.images.handing:Handing" }
uses = { disk = { from = "disk.root", rights = "wgp" } }
"""


def run(sel4py: Supervisor, folder: Path, text: str, seconds: float = SECONDS) -> None:
    """Boot it; the essential client's scene ends the system with 0 if it held."""
    description = folder / "files.toml"
    description.write_text(text)
    ended = sel4py.run("up", description, seconds=seconds)
    logs = "" if not ended.status else sel4py.run("logs", "--system", "files").output
    assert ended.status == 0, f"{ended}\n{logs}"


def client(scene: str, name: str = "client", more: str = "", essential: str = "true") -> str:
    return CLIENT.format(name=name, scene=scene, more=more, essential=essential)


def config(**entries: str) -> str:
    more = "".join(f", {key} = {value}" for key, value in entries.items())
    return f"config = {{ bytes = 8388608{more} }}\n"


def test_the_file_system_in_memory_conforms_between_tasks(sel4py: Supervisor, tmp_path: Path) -> None:
    run(sel4py, tmp_path, HEAD + config(sessions="64") + client("conforms"))


@pytest.mark.parametrize("messages", [3000, pytest.param(100_000, marks=[pytest.mark.slow, pytest.mark.timeout(400)])])
def test_a_client_with_a_read_only_subtree_attacks_in_vain(sel4py: Supervisor, tmp_path: Path, messages: int) -> None:
    attacker = client("attacks", more=', handing = "owner.handing"').replace(
        'disk = { from = "disk.root", rights = "wgp" }, ', ""
    )
    attacker = attacker.replace('scene = "attacks"', f'scene = "attacks", messages = {messages}')
    run(sel4py, tmp_path, HEAD + config() + OWNER + attacker, seconds=300)


def test_who_opens_without_end_exhausts_its_own_and_others_go_on(sel4py: Supervisor, tmp_path: Path) -> None:
    run(sel4py, tmp_path, HEAD + config() + client("exhausts", "greedy", essential="false") + client("reads_on"))


def test_a_killed_server_takes_its_files_along_and_clients_go_on(sel4py: Supervisor, tmp_path: Path) -> None:
    grants = 'grants = ["system-information"]\n'
    restart = HEAD.replace("slot_bits", 'restart = "always"\nslot_bits')
    run(sel4py, tmp_path, restart + config() + client("survives") + grants)


def test_who_waits_for_a_lock_has_it_when_its_holder_is_killed(sel4py: Supervisor, tmp_path: Path) -> None:
    grants = 'grants = ["system-information"]\n'
    holder = client("holds", "holder", essential="false")
    run(sel4py, tmp_path, HEAD + config() + holder + client("outlives") + grants)
