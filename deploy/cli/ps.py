"""``sel4py ps``: the tasks of a system."""

from __future__ import annotations

from collections.abc import Mapping

import click

from deploy.cli.output import Report, reported, system_option


@click.command()
@system_option
@reported
def command(system_name: str | None) -> Report:
    """List the tasks of a running system: with how often each was started again, why its last life ended, and its
    group's restart strategy. A last line says how often the kernel was started again, if it was.
    """
    from deploy.cli.rendering import line, show, warning
    from deploy.management import Management
    from deploy.runtime import select_running

    with Management(select_running(system_name).folder) as management:
        rows, status = management.request("ps"), management.request("status")
        strategies = _strategies(management.request("description"))
    rows = (
        [dict(row) | {"strategy": strategies.get(row.get("name"), "")} for row in rows]
        if isinstance(rows, list)
        else []
    )

    def show_all() -> None:
        show(rows)
        if isinstance(status, Mapping) and (without := status.get("without_layers")):
            warning(f"\nthe sandbox of these tasks is WITHOUT {', '.join(map(str, without))}")
        if isinstance(status, Mapping) and (restarts := status.get("kernel_restarts")):
            line(f"\nkernel restarts: {restarts}; the last one took {status.get('recovery_us')} us")

    return Report(rows, show_all)


def _strategies(description: object) -> dict[object, str]:
    """By the names of the tasks that are started again; nothing of a system that is not described as ours are."""
    from libsel4py.description import CorruptDescription, Restart, unpack

    try:
        system = unpack(description if isinstance(description, bytes) else b"")
    except CorruptDescription:
        return {}
    return {
        task.name: system.group(task.name).strategy.value if system.reincarnation else "by root"
        for task in system.tasks
        if task.restart is not Restart.NEVER
    }
