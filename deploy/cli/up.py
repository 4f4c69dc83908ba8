"""``sel4py up``: start a system."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from deploy.cli.output import Failure, Report, console_output, name_option, reported
from deploy.cli.rendering import line

if TYPE_CHECKING:
    from deploy.description import Description


def _ram(context: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    from deploy.quantities import format_size, parse_size
    from deploy.sections import RAM_HIGH, RAM_LOW

    if value is None:
        return None
    try:
        size = parse_size(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    if size % 4096 or not RAM_LOW <= size <= RAM_HIGH:
        raise click.BadParameter(f"RAM is a multiple of 4K in {format_size(RAM_LOW)}..{format_size(RAM_HIGH)}")
    return size


@click.command()
@click.argument("system")
@click.option("--detach", is_flag=True, help="Run in the background; return when the system is up.")
@click.option("--script", metavar="FILE", help="Feed FILE (- is standard input) to the console, then end its input.")
@name_option
@click.option("--ram", metavar="SIZE", callback=_ram, help="Bytes of RAM, such as 512M, instead of the description's.")
@click.option(
    "--kernel-deaths",
    metavar="COUNT",
    type=click.IntRange(0),
    help="End the system when its kernel dies more than COUNT times within 10 seconds; by default 20.",
)
@reported
def command(
    system: str, detach: bool, script: str | None, name: str | None, ram: int | None, kernel_deaths: int | None
) -> Report:
    """Start SYSTEM: a description file, a folder with a system.toml, or a name such as workstation.

    In the foreground the console is this terminal, and the exit status is that of the system. It ends when an essential
    task (the shell) ends. With --json the console writes to standard error, and standard output has the answer alone.
    """
    from deploy.description import find, load
    from deploy.launch import LaunchOptions, launch, launch_detached
    from libsel4py.description import Backend

    description = load(find(system), ram, name)
    fed = _open_script(script) if script is not None else None
    try:
        if detach:
            # A script is read from a stream of bytes; people need a terminal, which `sel4py console` joins.
            launch_detached(LaunchOptions(description, Backend.PTY if fed is None else None, fed, kernel_deaths))
            own = description.system.name
            return Report({"name": own}, lambda: line(f"{own} is up; {how_to_reach(description)}"))
        options = LaunchOptions(description, None, fed, kernel_deaths, output=console_output())
        return ended(description.system.name, launch(options))
    finally:
        if fed is not None:
            os.close(fed)


def how_to_reach(description: Description) -> str:
    """What to do with a system that runs in the background."""
    from libsel4py.description import DeviceType

    own = description.system.name
    if any(device.type is DeviceType.UART for device in description.system.devices):
        return f"talk to it with: sel4py console --system {own}"
    return f"it has no console; see what it does with: sel4py logs --system {own}"


def ended(name: str, status: int) -> Report:
    """Of a system that ran in the foreground."""
    from hw.monitor import NOT_WRITTEN

    told = status in (0, NOT_WRITTEN)  # by the monitor
    error = f"{name} ended with status {status}; `sel4py logs --system {name}` has what it wrote" if not told else ""
    return Report({"name": name, "status": status}, lambda: None, ok=not status, status=status, error=error)


def _open_script(script: str) -> int:
    if script == "-":
        return os.dup(0)
    if Path(script).is_file():
        _check_lines(Path(script))
    return os.open(Path(script), os.O_RDONLY | os.O_CLOEXEC)


def _check_lines(script: Path) -> None:
    """Raise unless each line can be typed as a whole."""
    from libsel4py.interfaces.console import MAX_LINE_BYTES

    with script.open("rb") as lines:
        for number, each in enumerate(lines, 1):
            if (length := len(each.rstrip(b"\r\n"))) > MAX_LINE_BYTES:
                takes = f"the console takes lines of up to {MAX_LINE_BYTES} bytes"
                raise Failure(f"line {number} of {script} has {length} bytes; {takes}")
