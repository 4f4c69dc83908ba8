"""Channels under hostile and unlucky use, between real processes: limits, storms, time-outs, cancellation, deaths."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.system.supervisor import ROOT, Supervisor

SYSTEM = """
[system]
name = "storms"
paths = ["{root}"]

[machine]
ram = "512M"

[task.server]
image = "tests.system.images.called"
restart = "always"
provides = {{ called = "tests.system.images.called:Called" }}
"""
CLIENT = """
[task.{name}]
image = "tests.system.images.channel_storm"
essential = {essential}
pool = "4M"
slot_bits = 12
threads = 3
grants = ["system-information"]
config = {{ scene = "{scene}" }}
uses = {{ service = {{ from = "server.called", rights = "wgp" }} }}
"""


def client(scene: str, name: str = "client", essential: bool = True) -> str:
    return CLIENT.format(name=name, scene=scene, essential=str(essential).lower())


def run(sel4py: Supervisor, folder: Path, *clients: str) -> None:
    description = folder / "storms.toml"
    description.write_text(SYSTEM.format(root=ROOT) + "".join(clients))
    ended = sel4py.run("up", description)
    logs = "" if not ended.status else sel4py.run("logs", "--system", "storms").output
    assert ended.status == 0, f"{ended}\n{logs}"


@pytest.mark.parametrize("scene", ["limits", "mixed", "time_outs", "cancelled", "beside_deaths"])
def test_a_client(sel4py: Supervisor, tmp_path: Path, scene: str) -> None:
    run(sel4py, tmp_path, client(scene))


def test_storm(sel4py: Supervisor, tmp_path: Path) -> None:
    others = (client("storm", f"storm{number}", False) for number in range(3))
    run(sel4py, tmp_path, client("honest"), *others)


def test_a_client_that_calls_and_goes_away_again_and_again(sel4py: Supervisor, tmp_path: Path) -> None:
    greedy = client("greedy", "greedy", essential=False) + 'restart = "always"\n'
    run(sel4py, tmp_path, client("beside_greed"), greedy)
