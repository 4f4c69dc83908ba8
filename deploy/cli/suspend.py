"""``sel4py suspend``: save a whole system to a file, and end it."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import click

from deploy.cli.output import Report, reported, system_option
from deploy.cli.rendering import line

SECONDS = 600.0
END_SECONDS = 30.0  # for a system that has been saved


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--keep-running", is_flag=True, help="Let the system go on: FILE is a checkpoint.")
@click.option("--force", is_flag=True, help="Suspend tasks without a restart point too; they begin anew.")
@system_option
@reported
def command(file: Path, keep_running: bool, force: bool, system_name: str | None) -> Report:
    """Save a running system to FILE, with all that its tasks hold, and end it; `sel4py resume FILE` lets it go on.

    Each task begins its next life then, with the capabilities and the state that it had. If FILE cannot be written, the
    system goes on.
    """
    from deploy.images import ensure_replaceable
    from deploy.management import Management, ManagementError
    from deploy.runtime import select_running, wait_ended
    from deploy.snapshots import without_restart_point
    from libsel4py.description import unpack

    target = ensure_replaceable(file)
    running = select_running(system_name)
    with Management(running.folder) as management:
        lost = without_restart_point(unpack(cast(bytes, management.request("description"))))
        if lost and not force:
            raise ManagementError(
                f"{', '.join(lost)}: no restart point, so what they know would be lost; give them state and restart ="
                ' "always" in the description, or let them begin anew with --force'
            )
        result = management.request_long("suspend", SECONDS, file=str(target), end=not keep_running)
    if not keep_running and not wait_ended(running, END_SECONDS):
        still = f"{running.name} is saved, and still runs after {END_SECONDS:g} s; end it with `sel4py down --force`"
        raise ManagementError(still)
    what = "saved; it goes on" if keep_running else "suspended"
    return Report(result, lambda: line(f"{running.name} is {what}: sel4py resume {file}"))
