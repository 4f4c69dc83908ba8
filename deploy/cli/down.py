"""``sel4py down``: end a system."""

from __future__ import annotations

import click

from deploy.cli.numbers import SECONDS
from deploy.cli.output import Failure, Report, reported, system_option
from deploy.cli.rendering import line


@click.command()
@system_option
@click.option("--force", is_flag=True, help="End it at once, without asking it.")
@click.option(
    "--timeout", type=SECONDS, default=10.0, show_default=True, metavar="SECONDS", help="How long to wait for its end."
)
@reported
def command(system_name: str | None, force: bool, timeout: float) -> Report:
    """End a running system and wait until it has ended."""
    from deploy.management import Management
    from deploy.runtime import clean_after, end_forcibly, select_running, wait_ended

    system = select_running(system_name)
    if force:
        end_forcibly(system)
    else:
        with Management(system.folder, timeout) as management:
            management.request("down")
    if not wait_ended(system, timeout):
        raise Failure(f"{system.name} still runs after {timeout:g} s; end it with --force")
    if force:
        clean_after(system)
    return Report({"name": system.name}, lambda: line(f"{system.name} has ended"))
