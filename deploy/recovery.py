"""Who recovers which group, as a description says it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from deploy.problems import Problems, dotted, suggest
from deploy.scanner import Path
from deploy.sections import TaskDraft, leads_to_supervisor
from libsel4py.description import Group

RECOVERY_INTERFACE: Final = "libsel4py.interfaces.recovery:Recovery"


def check_recovery(tasks: Sequence[TaskDraft], groups: Mapping[Path, Group], problems: Problems) -> None:
    """Reports what of the groups' recovery would never be decided by anybody. ``groups``: by where they stand."""
    by_name = {each.name: each for each in tasks}
    asking = [
        (task, use) for task in tasks for use in task.uses if leads_to_supervisor(use, by_name, RECOVERY_INTERFACE)
    ]
    asks = {task.name for task, _ in asking}
    for path, group in groups.items():
        if group.recovery:
            _check_group((*path, "recovery"), group, by_name, asks, problems)
    for task, use in asking:
        # It would be refused each time.
        if all(group.recovery != task.name for group in groups.values()):
            finding = f"{dotted(use.path)} is there to recover, and no group has recovery = {task.name!r}"
            problems.add(use.path, finding, "add that to a group, or leave the connection out")


def _check_group(
    path: Path, group: Group, by_name: Mapping[str, TaskDraft], asks: set[str], problems: Problems
) -> None:
    name = group.recovery
    if name not in by_name:
        problems.add(path, f"{dotted(path)}: there is no task {name!r}", suggest(name, by_name))
    # It would decide what follows its own end.
    elif name in group.tasks:
        problems.add(path, f"{dotted(path)}: {name!r} is in the group itself", "name a task that is not")
    # Each end would be held for somebody who never asks.
    elif name not in asks:
        finding = f"{dotted(path)}: {name!r} does not ask what is to be recovered"
        remedy = f"give it a connection to the reincarnation server's {RECOVERY_INTERFACE!r}"
        problems.add(path, finding, remedy)
    # To leave it down would be to end the system, which is not that task's to say.
    essential = [each for each in group.tasks if each in by_name and by_name[each].essential]
    if essential:
        finding = f"{dotted(path)}: {essential[0]!r} is in the group, and essential"
        problems.add(path, finding, "leave recovery out, or that task: its end is the system's")
