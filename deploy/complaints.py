"""Who complains of whom, as a description says it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from deploy.problems import Problems, dotted, suggest
from deploy.scanner import Path
from deploy.sections import TaskDraft, UseDraft, leads_to_supervisor
from libsel4py.description import INTENSITY, Grant, Group, Restart
from libsel4py.environment import COMPLAINTS_INTERFACE

LEAST_INTENSITY: Final = 2  # half of the failures may be complaints


def check_complaints(task: TaskDraft, tasks: Sequence[TaskDraft], groups: Sequence[Group], problems: Problems) -> None:
    """Reports what of a task's complaints would never be followed."""
    by_name = {each.name: each for each in tasks}
    heard = [use for use in task.uses if leads_to_supervisor(use, by_name, COMPLAINTS_INTERFACE)]
    # Nobody would hear it.
    if task.complains_of and not heard:
        finding = f"{dotted(task.path)} complains, and uses nobody who hears it"
        remedy = f"add uses = {{ complaints = 'TASK.NAME' }}: the reincarnation server's, {COMPLAINTS_INTERFACE!r}"
        problems.add((*task.path, "complains_of"), finding, remedy)
    # It would be refused each time.
    if heard and not task.complains_of:
        finding = f"{dotted(heard[0].path)} is there to complain, and {dotted(task.path)} complains of nobody"
        problems.add(heard[0].path, finding, "add complains_of = ['TASK'], or leave the connection out")
    for index, name in enumerate(task.complains_of):
        path: Path = (*task.path, "complains_of", index)
        if name in by_name:
            _check_target(task, by_name[name], path, groups, problems)
        else:
            problems.add(path, f"{dotted(path)}: there is no task {name!r}", suggest(name, by_name))
    for use in (*task.uses, *task.names):
        if use.complains:
            _check_use(task, use, problems)


def _check_target(task: TaskDraft, target: TaskDraft, path: Path, groups: Sequence[Group], problems: Problems) -> None:
    intensity = next((group.intensity for group in groups if target.name in group.tasks), INTENSITY)
    if target is task:
        problems.add(path, f"{dotted(path)} is the task itself", "name a server whose answers it judges")
    # It is who would be told.
    elif Grant.LIFECYCLE in target.grants:
        finding = f"{dotted(path)}: {target.name!r} supervises the others"
        problems.add(path, finding, "leave it out: root looks after it")
    # A complaint ends no task for good.
    elif target.restart is Restart.NEVER:
        finding = f"{dotted(path)}: {target.name!r} is never started again, so no complaint of it is followed"
        problems.add(path, finding, "give that task restart = 'always'")
    elif intensity < LEAST_INTENSITY:
        finding = f"{dotted(path)}: the intensity of {target.name!r} is {intensity}, and half of it are complaints"
        problems.add(path, finding, f"give its group an intensity of {LEAST_INTENSITY} at least")


def _check_use(task: TaskDraft, use: UseDraft, problems: Problems) -> None:
    path = (*use.path, "complains")
    # What a task looks up is none of the SDK's connections.
    if use in task.names:
        finding = f"{dotted(use.path)} complains, and what a task looks up does not"
        problems.add(path, finding, "name it among the task's uses, or leave complains out")
    elif use.task not in task.complains_of:
        finding = f"{dotted(use.path)} complains of {use.task!r}, and {dotted(task.path)} may not"
        problems.add(path, finding, f"add {use.task!r} to the task's complains_of")
