"""``sel4py inspect``: look at the kernel's objects."""

from __future__ import annotations

from pathlib import Path

import click

from deploy.cli.output import Report, reported, system_option

_WHAT = ("untyped", "cspace", "queues", "vspaces", "memory")


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
    """Show the untyped tree, capability spaces, who waits in which queue, what is mapped where, or who holds memory."""
    if image is not None:
        from deploy.images import inspect

        return Report(inspect(image, what))
    from deploy.management import Management
    from deploy.runtime import select_running

    with Management(select_running(system_name).folder, seconds=60) as management:
        return Report(management.request("inspect", what=what))
