"""``sel4py systems``: which systems run."""

from __future__ import annotations

import click

from deploy.cli.output import Report, reported
from deploy.cli.rendering import line, table


@click.command()
@reported
def command() -> Report:
    """List the running systems of this user."""
    from deploy.runtime import running

    found = running()

    def show() -> None:
        if found:
            table(("name", "pid", "folder"), [(each.name, each.pid, each.folder) for each in found])
        else:
            line("no system is running")

    return Report([{"name": each.name, "pid": each.pid, "folder": str(each.folder)} for each in found], show)
