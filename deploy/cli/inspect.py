"""``sel4py inspect``: look at the kernel's objects."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from deploy.cli.output import Report, reported, system_option

_WHAT = (
    "untyped",
    "cspace",
    "queues",
    "vspaces",
    "io_spaces",
    "notices",
    "contexts",
    "holdings",
    "memory",
    "devices",
    "kernel",
)

SECONDS = 60.0


@click.command()
@click.argument("what", type=click.Choice(_WHAT), default="memory")
@click.option(
    "--image",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Look at a saved image of RAM instead of a running system.",
)
@system_option
@reported
def command(what: str, image: Path | None, system_name: str | None) -> Report:
    """Show what the kernel holds: who pays for RAM (memory, the default), or another view.

    untyped: memory, and what was made of it. cspace: capability spaces. queues: who waits where. vspaces: what is
    mapped. io_spaces: what devices reach. notices: who watches whom. contexts: who runs on which budget. holdings: who
    holds what, for programs. memory: who pays for RAM. devices: the machine's. kernel: how often it was started again,
    and how long that took the last time.
    """
    if image is not None:
        from deploy.images import inspect

        return _report(what, inspect(image, what))
    from deploy.management import Management
    from deploy.runtime import select_running

    with Management(select_running(system_name).folder) as management:
        return _report(what, management.request_long("inspect", SECONDS, what=what))


def _report(what: str, result: object) -> Report:
    """The whole answer for ``--json``; people get the memory's tree folded."""
    if what == "memory" and isinstance(result, Mapping):
        from deploy.cli.memory import show_memory

        return Report(result, lambda: show_memory(result))
    return Report(result)
