"""Calls by channel between real processes: begun without asking, with the slow path's meaning, and after deaths."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.system.supervisor import ROOT, Supervisor

SERVER = """
[system]
name = "channels"
paths = ["{root}"]

[task.server]
image = "tests.system.images.called"
restart = "always"
provides = {{ called = "tests.system.images.called:Called" }}
"""
CLIENT = """
[task.{name}]
image = "tests.system.images.calling"
essential = {essential}
config = {{ scene = "{scene}" }}
{more}
"""
SEVERED = """uses = { service = "server.called", slow = { from = "server.called", channel = "never" } }
threads = 1"""
GRANTING = '{ from = "server.called", rights = "wgp" }'


def run(sel4py: Supervisor, folder: Path, *clients: str) -> None:
    """Boot the server with these clients; the essential one ends the system with 0 if its scene held."""
    description = folder / "channels.toml"
    description.write_text(SERVER.format(root=ROOT) + "".join(clients))
    ended = sel4py.run("up", description)
    logs = "" if not ended.status else sel4py.run("logs", "--system", "channels").output
    assert ended.status == 0, f"{ended}\n{logs}"


def client(scene: str, more: str = "", name: str = "client", essential: bool = True) -> str:
    uses = more if "uses" in more else f'uses = {{ service = "server.called" }}\n{more}'
    return CLIENT.format(name=name, scene=scene, essential=str(essential).lower(), more=uses)


@pytest.mark.parametrize(
    ("scene", "more"),
    [
        ("interface", f"uses = {{ service = {GRANTING} }}"),
        (
            "choices",
            'uses = { service = "server.called", fast = { from = "server.called", channel = "always" }, '
            'slow = { from = "server.called", channel = "never" } }',
        ),
        ("time_limits", ""),
        ("deferred", "threads = 1"),
        ("severed", SEVERED),
        ("signals", "threads = 1"),
        ("restarted", 'grants = ["system-information"]'),
    ],
)
def test_a_client_that_calls_often(sel4py: Supervisor, tmp_path: Path, scene: str, more: str) -> None:
    run(sel4py, tmp_path, client(scene, more))


def test_two_clients_are_told_apart(sel4py: Supervisor, tmp_path: Path) -> None:
    run(sel4py, tmp_path, client("badges"), client("badges", name="other", essential=False))
