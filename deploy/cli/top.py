"""``sel4py top``: what uses the processors, again and again."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING

import click

from deploy.cli.numbers import SECONDS
from deploy.cli.output import Failure, Report, reported, system_option, wants_json, written
from deploy.cli.rendering import line, printable, table

if TYPE_CHECKING:
    from rich.table import Table

    from deploy.runtime import Running
    from deploy.usage import Usage

COLUMNS = ("task", "state", "processor %", "time ms", "threads", "restarts", "pid")


@click.command()
@click.option("--interval", type=SECONDS, default=1.0, help="Seconds between two looks [1].")
@click.option(
    "--count", type=click.IntRange(1), help="Looks to show [1, or until Ctrl-C or the system's end on a terminal]."
)
@system_option
@reported
def command(interval: float, count: int | None, system_name: str | None) -> Report:
    """Show what uses the processors: each task's share, the busiest first, and the kernel's, with its system calls.

    Shares are percent of one processor, over the time between two looks. On a terminal they are shown until Ctrl-C;
    elsewhere, and as JSON, once.
    """
    from deploy.runtime import select_running

    system = select_running(system_name)
    on_terminal = sys.stdout.isatty() and not wants_json()
    looks = _looks(system, interval, count or (None if on_terminal else 1))
    if wants_json():
        return Report(asdict(each) for each in looks)
    if on_terminal:
        _show_live(system.name, looks)
    else:
        for each in looks:
            written(partial(_show, system.name, each))
    return Report(None, lambda: None)


def _looks(system: Running, interval: float, count: int | None) -> Iterator[Usage]:
    """What was used in each interval. Ends with the system, which is an error where nothing was shown before."""
    from deploy.management import Management, ManagementError
    from deploy.runtime import wait_ended
    from deploy.usage import Look, between, look

    def next_look(management: Management) -> Look | None:
        if wait_ended(system, interval):
            return None
        try:
            return look(management)
        except ManagementError:
            if wait_ended(system, 0):
                return None
            raise

    shown = 0
    with Management(system.folder) as management:
        former = look(management)
        while count is None or shown < count:
            latest = next_look(management)
            if latest is None:
                if not shown:
                    raise Failure(f"{system.name} ended before a second look at it")
                return
            yield between(former, latest)
            former, shown = latest, shown + 1


def _summary(name: str, usage: Usage) -> str:
    restarts = f"; the kernel was started again {usage.kernel_restarts} times" if usage.kernel_restarts else ""
    return (
        f"{name}, up {usage.uptime_us / 1e6:.0f} s: tasks {usage.tasks_percent} %, kernel {usage.kernel_percent} % of "
        f"a processor; {usage.system_calls:.0f} system calls and {usage.doorbells:.0f} doorbells a second{restarts}"
    )


def _rows(usage: Usage) -> list[list[object]]:
    return [
        [each.task, each.state, each.percent, round(each.cpu_us / 1000, 1), each.threads, each.restarts, each.pid]
        for each in usage.tasks
    ]


def _show(name: str, usage: Usage) -> None:
    line(_summary(name, usage))
    table(COLUMNS, _rows(usage))


def _show_live(name: str, looks: Iterator[Usage]) -> None:
    """In place; one below the other on a terminal that has lines alone (TERM=dumb), where `Live` shows the last one."""
    from rich.console import Console
    from rich.live import Live

    console = Console()
    with suppress(KeyboardInterrupt):
        if console.is_dumb_terminal:
            for each in looks:
                written(partial(_show, name, each))
            return
        with Live(console=console, auto_refresh=False) as live:
            for each in looks:
                live.update(_drawn(name, each), refresh=True)


def _drawn(name: str, usage: Usage) -> Table:
    from rich.table import Table
    from rich.text import Text

    drawn = Table(title=Text(printable(_summary(name, usage))), title_justify="left", box=None, pad_edge=False)
    for column in COLUMNS:
        drawn.add_column(column, justify="left" if column in ("task", "state") else "right")
    for row in _rows(usage):
        drawn.add_row(*(Text(printable(str(each))) for each in row))
    return drawn
