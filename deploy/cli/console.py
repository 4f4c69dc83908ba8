"""``sel4py console``: talk to a system in the background."""

from __future__ import annotations

import os

import click

from deploy.cli.output import Failure, Report, console_output, reported, system_option


@click.command()
@system_option
@reported
def command(system_name: str | None) -> Report:
    """Join this terminal to the console of a detached system. Ctrl-] leaves it; the system goes on.

    What is piped into it is typed, and it leaves at the end of that, with what was shown until then: it does not wait
    for answers. A system that `sel4py up` starts with a script piped into it answers all of it.

    With --json the console writes to standard error.
    """
    from deploy.runtime import select_running
    from deploy.terminal import join

    system = select_running(system_name)
    try:
        console = os.open(system.folder / "console", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        why = "it has no UART, or runs on the terminal that started it"
        raise Failure(f"{system.name} has no console to join: {why}") from error
    try:
        join(console, sink=console_output())
    finally:
        os.close(console)
    return Report({"name": system.name}, lambda: None)
