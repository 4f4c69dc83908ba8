"""A system of 500 tasks, each a process, booted from its description: it works, holds what is computed, and ends."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from deploy.authority import graph, holdings
from deploy.authority.questions import Analysis, Verb
from deploy.description import load
from deploy.management import Management
from tests.system.live_bound import Bound
from tests.system.supervisor import SECONDS, Supervisor

SERVERS, CLIENTS = 400, 100
CLOSURE_SECONDS = 5.0

TASK = """
[task.{name}]
image = "apps.{image}.main"
memory = "16M"
pool = "0K"
"""


def described(folder: Path) -> Path:
    """Servers that each hold the endpoints of two before them, and clients, each of another one."""
    text = ['[system]\nname = "large"\n[machine]\nram = "16G"\n']
    for number in range(SERVERS):
        held = sorted({number // 2, number // 3} - {number})
        uses = ", ".join(f'u{each} = "s{each}.ping"' for each in held)
        text.append(TASK.format(name=f"s{number}", image="pong"))
        text.append('provides = { ping = "libsel4py.interfaces.ping:Ping" }\nreply_rights = "w"\n')
        text.append(f"uses = {{ {uses} }}\n")
    for number in range(CLIENTS):
        text.append(TASK.format(name=f"c{number}", image="ping"))
        text.append(f'uses = {{ pong = "s{number * 3}.ping" }}\nconfig = {{ rounds = 20 }}\n')
    path = folder / "large.toml"
    path.write_text("".join(text))
    return path


def all_served(management: Management) -> bool:
    """Whether each client has called, and ended well, and each server waits for its next call."""
    rows = management.request("ps")
    assert isinstance(rows, list)
    states = {row["name"]: row["state"] for row in rows}
    servers = {name: state for name, state in states.items() if name.startswith("s")}
    return len(servers) == SERVERS and len(states) == 1 + SERVERS and set(servers.values()) == {"BLOCKED_ON_RECEIVE"}


@pytest.mark.slow
def test_five_hundred_tasks_are_booted_and_hold_what_is_computed(tmp_path: Path, sel4py: Supervisor) -> None:
    path = described(tmp_path)
    system = load(path).system
    sel4py.ok("up", path, "--detach")
    with Management(sel4py.folder / "large", SECONDS) as management:
        for _ in management.events(0.1):
            if all_served(management):
                break
        live = holdings.read(management.request("inspect", what="holdings"))
        assert management.request("fsck") == []
        answer = sel4py.run("check", path, "--live", "--can", "c99", "reach", "c98")
        assert (answer.status, answer.error) == (3, ""), "a certain no"
    bound = Bound(system, live)
    assert bound.violations(live) == []
    assert bound.most > 8 * (SERVERS + CLIENTS)
    started = time.process_time()
    closure = Analysis(graph.of(live), (), system)
    assert time.process_time() - started < CLOSURE_SECONDS
    assert closure.can("c99", Verb.CALL, "s297.ping").yes
    assert not closure.can("c99", Verb.REACH, "s296").yes
    assert sel4py.ok("down") == "large has ended\n"
