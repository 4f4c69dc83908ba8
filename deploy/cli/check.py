"""``sel4py check``: is a description right, and what does it come to?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from deploy.cli import authority
from deploy.cli.output import Report, reported
from deploy.cli.rendering import line, table, warning

if TYPE_CHECKING:
    from deploy.description import Description


@click.command()
@click.argument("system")
@click.option("--can", nargs=3, metavar="A VERB B", help="Can A ever reach, inform, read, write, call or grant at B?")
@click.option("--who-can", metavar="PATH", help="Who can ever do what to a task or an object, as vfs.endpoint.")
@click.option("--matrix", is_flag=True, help="Which task can ever reach which.")
@click.option("--graph", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Draw that, as SVG.")
@click.option("--trust", multiple=True, metavar="TASK", help="Take TASK to hand on no authority of its own.")
@click.option("--declared", is_flag=True, help="Take all tasks to hand on what their interfaces declare alone.")
@click.option("--live", is_flag=True, help="Ask of the running system of SYSTEM's name, as it stands now.")
@click.option(
    "--image",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Ask of a saved image of SYSTEM's RAM.",
)
@reported
def command(
    system: str,
    can: tuple[str, str, str] | None,
    who_can: str | None,
    matrix: bool,
    graph: Path | None,
    trust: tuple[str, ...],
    declared: bool,
    live: bool,
    image: Path | None,
) -> Report:
    """Check the description SYSTEM; tell every mistake with its line, else show what it builds, in start order.

    Or answer one question about its authority. Exit status 0: yes, 3: no, which is certain, 1: there is no answer.
    """
    from deploy.description import find, load

    description = load(find(system))
    asked = sum((can is not None, who_can is not None, matrix, graph is not None))
    if asked > 1:
        raise click.UsageError("ask one question at a time: --can, --who-can, --matrix or --graph")
    if live and image is not None:
        raise click.UsageError("ask of the running system or of an image, not of both")
    if not asked:
        if trust or declared or live or image is not None:
            raise click.UsageError(
                "--trust, --declared, --live and --image go with --can, --who-can, --matrix or --graph"
            )
        return _described(description)
    from deploy.authority import sources
    from deploy.authority.questions import Analysis

    if image is not None:
        found = sources.saved(image)
    else:
        found = sources.live(description.system.name) if live else sources.described(description.system)
    analysis = Analysis(found, trust, description.system, declared=declared)
    if can is not None:
        return authority.can(analysis, can)
    if who_can is not None:
        return authority.who_can(analysis, who_can)
    return authority.draw(analysis, graph) if graph is not None else authority.matrix(analysis)


def _described(description: Description) -> Report:
    import msgspec

    from deploy.quantities import format_size
    from libsel4py.description import Assigned, Task, Use
    from libsel4py.environment import ChannelUse

    checked = description.system

    def channel(use: Use) -> str:
        return "" if use.channel is ChannelUse.AUTO else f",channel={use.channel.value}"

    def io_space(assigned: Assigned) -> str:
        return f",io_space={format_size(assigned.io_space)}" if assigned.io_space else ""

    def connections(task: Task) -> str:
        used = [f"{use.name}→{use.task}.{use.provided}#{use.badge}{channel(use)}" for use in task.uses]
        found = [f"({use.name}→{use.task}.{use.provided}#{use.badge})" for use in task.names]
        driven = [f"{each.name}→{each.device}{io_space(each)}" for each in task.devices]
        accused = [f"!{name}" for name in task.complains_of]
        return " ".join((*used, *found, *driven, *accused, *(f"+{grant.value}" for grant in task.grants))) or "-"

    def show() -> None:
        line(f"{description.source}: {checked.name}, {format_size(checked.ram)} of RAM, {len(checked.tasks)} tasks")
        rows = [
            (task.name, task.image, task.priority, format_size(task.memory), task.restart.value, connections(task))
            for task in checked.tasks
        ]
        table(("task", "image", "priority", "memory", "restart", "holds"), rows)
        for task in checked.tasks:
            if task.host_calls:
                calls = ", ".join(task.host_calls)
                warning(f"the sandbox of {task.name} is LOOSENED: {task.image} may make the host system calls {calls}")

    return Report(msgspec.to_builtins(checked), show)
