"""``sel4py why``: what a task waits for."""

from __future__ import annotations

import click

from deploy.cli.output import Report, reported, system_option


@click.command()
@click.argument("task")
@system_option
@reported
def command(task: str, system_name: str | None) -> Report:
    """Say why TASK does not run: what it waits for, and what that waits for, to the end."""
    from deploy.management import Management
    from deploy.runtime import select_running

    with Management(select_running(system_name).folder) as management:
        return Report(management.request("why", task=task))
