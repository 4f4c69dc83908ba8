"""What a description says that can ever be, bounds what its booted system can ever do: as the CSpaces stand then."""

from __future__ import annotations

import pytest

from deploy.authority import graph, holdings, sources
from deploy.authority.graph import Graph
from deploy.authority.questions import Analysis
from deploy.description import SYSTEMS, load
from deploy.management import Management
from libsel4py.description import System
from tests.system.supervisor import Supervisor

SHIPPED = ("minimal", "picture", "workstation", "exercise", "two-nodes/alpha", "two-nodes/beta")


def beyond(described: Graph, live: Graph, system: System) -> list[str]:
    """Who can ever reach whom in the live system that nobody finds in the description."""
    found = []
    for declared in (False, True):
        bound = Analysis(described, (), system, declared=declared).matrix()
        for source, reached in Analysis(live, (), system, declared=declared).matrix().items():
            found += [
                f"{source} reaches {target} by {at}" for target, at in reached.items() if target not in bound[source]
            ]
    return found


def is_served(management: Management) -> bool:
    """Whether the last task in start order waits for another's answer or for what comes: those before it have begun."""
    rows = management.request("ps")
    assert isinstance(rows, list)
    return any("BLOCKED" in str(row["state"]) for row in rows if row["name"] == "shell")


@pytest.mark.slow
@pytest.mark.parametrize("name", SHIPPED)
def test_a_booted_system_can_do_no_more_than_its_description(name: str, sel4py: Supervisor) -> None:
    path = SYSTEMS / f"{name}.toml"
    system = load(path).system
    sel4py.ok("up", path, "--detach", "--name", "live")
    with Management(sel4py.folder / "live") as management:
        for _ in management.events(0.2):
            if is_served(management):
                break
        live = graph.of(holdings.read(management.request("inspect", what="holdings")))
    sel4py.ok("down", "--system", "live")
    described = sources.described(system)
    pairs = len(system.tasks) * (len(system.tasks) - 1)
    ways = Analysis(described, (), system, declared=True).matrix()
    assert sum(map(len, ways.values())) < pairs, "a bound that allows everything would test nothing"
    assert beyond(described, live, system) == []
    first = next(task for task in system.tasks if task.uses)
    poorer = Graph(
        described.nodes,
        described.capabilities,
        list(described.held),
        described.touched,
        described.implied,
        described.tasks,
    )
    poorer.held[described.nodes.index(first.name)] = {}
    assert beyond(poorer, live, system), "a description that lacks something is found"
