"""``sel4py ps``: the tasks of a system."""

from __future__ import annotations

import click

from deploy.cli.output import Report, reported, system_option


@click.command()
@system_option
@reported
def command(system_name: str | None) -> Report:
    """List the tasks of a running system."""
    from deploy.management import Management
    from deploy.runtime import select_running

    with Management(select_running(system_name).folder) as management:
        return Report(management.request("ps"))
