"""``sel4py console``: talk to a system in the background."""

from __future__ import annotations

import os
import sys

import click

from deploy.cli.numbers import SECONDS
from deploy.cli.output import Failure, Report, console_output, reported, system_option

ANSWER_SECONDS = 10.0


@click.command()
@click.option(
    "--prompt", metavar="TEXT", help="Type each line that is piped in when TEXT was shown behind the one before."
)
@click.option("--timeout", type=SECONDS, default=ANSWER_SECONDS, help="Seconds to wait for TEXT behind a line [10].")
@system_option
@reported
def command(prompt: str | None, timeout: float, system_name: str | None) -> Report:
    """Join this terminal to the console of a detached system. Ctrl-] leaves it; the system goes on.

    What is piped into it is typed, and it leaves at the end of that, with what was shown until then: it does not wait
    for answers. With --prompt it does, and leaves behind the last one: echo ps | sel4py console --prompt 'sel4py> '. A
    system that `sel4py up` starts with a script piped into it answers all of it.

    With --json the console writes to standard error.
    """
    from deploy.runtime import select_running
    from deploy.terminal import converse, join

    if prompt == "":
        raise click.UsageError(
            "--prompt: an empty text is shown at any time; it takes what the shell shows, 'sel4py> '"
        )
    if prompt and sys.stdin.isatty():
        raise click.UsageError("--prompt waits behind lines that are piped in, and standard input is a terminal")
    system = select_running(system_name)
    try:
        console = os.open(system.folder / "console", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        why = "it has no UART, or runs on the terminal that started it"
        raise Failure(f"{system.name} has no console to join: {why}") from error
    try:
        if prompt:
            converse(console, sys.stdin.buffer, prompt.encode(), timeout, console_output())
        else:
            join(console, sink=console_output())
    finally:
        os.close(console)
    return Report({"name": system.name}, lambda: None)
