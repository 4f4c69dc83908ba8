"""``sel4py logs``: what tasks wrote."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import click

from deploy.cli.output import Failure, Report, reported, system_option, wants_json, written
from deploy.cli.rendering import line

_FOLLOW_SECONDS = 0.2


@click.command()
@click.argument("task", required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on as they write, until the system ends.")
@system_option
@reported
def command(task: str | None, follow: bool, system_name: str | None) -> Report:
    """Print the log of TASK (or of kerneld or monitor), or all logs; also those of a system that has failed."""
    from deploy.logs import LogLine, logged, read_logs
    from deploy.problems import suggest
    from deploy.runtime import running, wait_ended

    folder = _folder(system_name)
    if task is not None and task not in logged(folder):
        raise Failure(f"{folder.name} has no log {task!r}; {suggest(task, logged(folder))}")
    system = next((each for each in running() if each.folder == folder), None) if follow else None

    def write(each: LogLine) -> None:
        if wants_json():
            click.echo(json.dumps({"task": each.task, "text": each.text}))
            return
        line(each.text if task else f"{each.task:>12} | {each.text}")

    tasks = [task] if task else None
    if system is not None:
        for each in read_logs(folder, tasks, lambda: wait_ended(system, _FOLLOW_SECONDS)):
            written(partial(write, each))
        return Report(None, lambda: None)

    def show() -> None:
        for each in read_logs(folder, tasks):
            write(each)

    return Report(({"task": each.task, "text": each.text} for each in read_logs(folder, tasks)), show)


def _folder(name: str | None) -> Path:
    """The named system's folder; without a name the only running one's, else the only one's that left logs."""
    from deploy.runtime import RuntimeRefused, ensure_private, running, runtime_folder, select_running

    try:
        return select_running(name).folder
    except RuntimeRefused:
        base = runtime_folder()
        if base.exists():
            ensure_private(base)
        left = [each.parent for each in base.glob("*/logs") if name in (None, each.parent.name)]
        if len(left) > 1 and not running():
            names = ", ".join(sorted(folder.name for folder in left))
            raise RuntimeRefused(
                f"no system is running; these have left logs, choose one with --system: {names}"
            ) from None
        if len(left) != 1:
            raise
        return left[0]
