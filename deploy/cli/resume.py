"""``sel4py resume``: let a suspended system go on."""

from __future__ import annotations

from pathlib import Path

import click

from deploy.cli.output import Report, console_output, reported
from deploy.cli.rendering import line
from deploy.cli.up import ended, how_to_reach


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--detach", is_flag=True, help="Run in the background; return when the system is up.")
@reported
def command(file: Path, detach: bool) -> Report:
    """Let the system go on that `sel4py suspend` has saved to FILE.

    FILE stays as it is. Its description and its disks must be as they were then. With --json the console writes to
    standard error.
    """
    from deploy.launch import LaunchOptions, launch, launch_detached
    from deploy.snapshots import description_of
    from libsel4py.description import Backend

    description = description_of(file)
    backend = Backend.PTY if detach else None
    options = LaunchOptions(description, backend, snapshot=file.absolute(), output=console_output())
    own = description.system.name
    if detach:
        launch_detached(options)
        return Report({"name": own}, lambda: line(f"{own} goes on; {how_to_reach(description)}"))
    return ended(own, launch(options))
