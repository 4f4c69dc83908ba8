"""``sel4py kill``: end a task's process."""

from __future__ import annotations

import click

from deploy.cli.output import Report, reported, system_option
from deploy.cli.rendering import line


@click.command()
@click.argument("task")
@system_option
@reported
def command(task: str, system_name: str | None) -> Report:
    """End the process of TASK; what follows is its restart policy's."""
    from deploy.management import Management
    from deploy.runtime import select_running

    with Management(select_running(system_name).folder) as management:
        result = management.request("kill", task=task)
    return Report(result, lambda: line(f"{task} was killed"))
