"""``sel4py check``: is a description right, and what does it come to?"""

from __future__ import annotations

import click

from deploy.cli.output import Report, reported
from deploy.cli.rendering import line, table


@click.command()
@click.argument("system")
@reported
def command(system: str) -> Report:
    """Check the description SYSTEM; tell every mistake with its line, else show what it builds, in start order."""
    import msgspec

    from deploy.description import find, load
    from deploy.quantities import format_size
    from libsel4py.description import Assigned, Task, Use
    from libsel4py.environment import ChannelUse

    description = load(find(system))
    checked = description.system

    def channel(use: Use) -> str:
        return "" if use.channel is ChannelUse.AUTO else f",channel={use.channel.value}"

    def io_space(assigned: Assigned) -> str:
        return f",io_space={format_size(assigned.io_space)}" if assigned.io_space else ""

    def connections(task: Task) -> str:
        used = [f"{use.name}→{use.task}.{use.provided}#{use.badge}{channel(use)}" for use in task.uses]
        found = [f"({use.name}→{use.task}.{use.provided}#{use.badge})" for use in task.names]
        driven = [f"{each.name}→{each.device}{io_space(each)}" for each in task.devices]
        return " ".join((*used, *found, *driven, *(f"+{grant.value}" for grant in task.grants))) or "-"

    def show() -> None:
        line(f"{description.source}: {checked.name}, {format_size(checked.ram)} of RAM, {len(checked.tasks)} tasks")
        rows = [
            (task.name, task.image, task.priority, format_size(task.memory), task.restart.value, connections(task))
            for task in checked.tasks
        ]
        table(("task", "image", "priority", "memory", "restart", "holds"), rows)

    return Report(msgspec.to_builtins(checked), show)
