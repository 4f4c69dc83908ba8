"""``sel4py schedule``: what happened on a system's virtual cores."""

from __future__ import annotations

import click

from deploy.cli.output import Report, reported, system_option
from deploy.cli.rendering import line, table


@click.command()
@click.option("--last", type=click.IntRange(1), metavar="N", help="The last N events alone.")
@system_option
@reported
def command(last: int | None, system_name: str | None) -> Report:
    """Say who ran when on the virtual cores of a system with strict scheduling, and which system calls were made.

    The time is in microseconds, of the system's own clock. The last 65,536 events are kept, as long as the kernel
    lives.
    """
    from deploy.management import Management
    from deploy.runtime import select_running

    with Management(select_running(system_name).folder) as management:
        events = management.request("schedule")
    assert isinstance(events, list)
    shown = events if last is None else events[-last:]
    rows = [dict(zip(("time_us", "core", "thread", "what"), event, strict=True)) for event in shown]

    def show() -> None:
        if rows:
            table(("time", "core", "thread", "what"), [tuple(map(str, row.values())) for row in rows])
        else:
            line("nothing has happened yet")

    return Report(rows, show)
