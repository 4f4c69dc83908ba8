"""Servers are updated while somebody calls them without a pause, who sees latency and nothing else."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from libsel4py.heartbeats import INIT_SECONDS
from tests.system.shell import ask, at_prompt, leave
from tests.system.supervisor import Supervisor, Terminal

SYSTEM = Path(__file__).with_name("versions.toml")
IMAGES = "tests.system.images.versioned"
SERVERS = ("plain", "spared")  # one by itself, and one that a process stands by for


@pytest.fixture
def terminal(sel4py: Supervisor) -> Terminal:
    return at_prompt(sel4py, SYSTEM)


def wait_shown(terminal: Terminal, line: str, answer: str) -> None:
    """Types a line until the answer has this."""
    while answer not in (shown := ask(terminal, line)):
        assert shown


def assert_nobody_saw(terminal: Terminal, name: str) -> None:
    """The client goes on: no call of its was lost, refused, or carried out twice."""
    before = total(terminal, name)
    while total(terminal, name) <= before:
        assert re.search(rf"{name}_user +running", shown := ask(terminal, "ps")), shown
    assert re.search(rf"{name}_user +running", shown := ask(terminal, "ps")), shown


def total(terminal: Terminal, name: str) -> int:
    found = re.search(r"\n(\d+)\r", shown := ask(terminal, f"call {name} total"))
    assert found, shown
    return int(found[1])


@pytest.mark.parametrize("name", SERVERS)
def test_clients_see_latency_alone(terminal: Terminal, name: str) -> None:
    """There and back, again and again; the next version goes on from the count of the one before."""
    for version, image in (("two", f"{IMAGES}_two"), ("one", IMAGES)) * 3:
        ask(terminal, f"update {name} {image}")
        wait_shown(terminal, f"call {name} version", f"version {version}")
        wait_shown(terminal, f"log {name}", "its update has come up")
        assert_nobody_saw(terminal, name)
    assert re.search(rf"{name} +running .* 6 .*{IMAGES} ", ask(terminal, "ps"))
    leave(terminal)


def test_an_update_outlives_the_servers_death_and_its_standbys(terminal: Terminal, sel4py: Supervisor) -> None:
    ask(terminal, f"update spared {IMAGES}_two")
    wait_shown(terminal, "log spared", "its update has come up")
    for restarts in (2, 3):
        sel4py.ok("kill", "spared")
        wait_shown(terminal, "log spared", f"started again ({restarts})")
        assert "version two" in ask(terminal, "call spared version")
    assert_nobody_saw(terminal, "spared")
    leave(terminal)


@pytest.mark.parametrize("name", SERVERS)
@pytest.mark.parametrize(
    ("version", "why"),
    [
        ("broken", "ended with status 1"),
        ("hung", "hung: it answers no heart"),
        ("leaving", "said that it is done, with status 0, before it had come up"),
    ],
)
def test_a_version_that_does_not_come_up_is_followed_by_the_former_one(
    terminal: Terminal, sel4py: Supervisor, name: str, version: str, why: str
) -> None:
    start = time.monotonic()
    ask(terminal, f"update {name} {IMAGES}_{version}")
    wait_shown(terminal, f"log {name}", f"{IMAGES}_{version} did not come up")
    assert time.monotonic() - start < INIT_SECONDS  # as its `first_heartbeat` says, and not as it is without
    assert why in ask(terminal, f"log {name}")
    assert "version one" in ask(terminal, f"call {name} version")
    assert_nobody_saw(terminal, name)
    leave(terminal)


def test_a_server_is_held_its_image_replaced_and_let_go(terminal: Terminal) -> None:
    """Its client waits meanwhile."""
    ask(terminal, "stop plain")
    wait_shown(terminal, "ps", "stopped by order")
    ask(terminal, f"update plain {IMAGES}_two")
    wait_shown(terminal, "call plain version", "version two")
    assert_nobody_saw(terminal, "plain")
    leave(terminal)


def test_no_image_is_loaded_that_the_description_does_not_permit(terminal: Terminal) -> None:
    assert "plain can be updated to" in ask(terminal, "update plain apps.shell.main")
    assert "version one" in ask(terminal, "call plain version")
    leave(terminal)


def test_a_supervisor_that_dies_leads_back_all_the_same(terminal: Terminal, sel4py: Supervisor) -> None:
    ask(terminal, f"update plain {IMAGES}_hung")
    wait_shown(terminal, "ps", f"{IMAGES}_hung")
    sel4py.ok("kill", "reincarnation")
    wait_shown(terminal, "log plain", f"{IMAGES}_hung did not come up")
    assert "version one" in ask(terminal, "call plain version")
    assert_nobody_saw(terminal, "plain")
    leave(terminal)
