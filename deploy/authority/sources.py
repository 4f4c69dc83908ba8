"""Where a system's authority is read from: its description, the running system, or a saved image of its RAM."""

from __future__ import annotations

from pathlib import Path

from deploy.authority import graph, holdings, paper
from deploy.authority.graph import Graph
from deploy.images import inspect
from libsel4py.description import System

_WHAT = "holdings"
_SECONDS = 60.0


def described(system: System) -> Graph:
    """What the tasks of a description begin with."""
    return graph.of(paper.holdings(system))


def live(name: str | None) -> Graph:
    """What the tasks of a running system hold now. Raises ManagementError, RuntimeRefused."""
    from deploy.management import Management
    from deploy.runtime import select_running

    with Management(select_running(name).folder) as management:
        return graph.of(holdings.read(management.request_long("inspect", _SECONDS, what=_WHAT)))


def saved(image: Path) -> Graph:
    """What the tasks of a saved image held. Raises ManagementError if the file cannot be one."""
    return graph.of(holdings.read(inspect(image, _WHAT)))
