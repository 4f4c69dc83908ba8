"""In which order tasks start: a task after those that it uses and depends on. Uses marked ``late`` do not count."""

from __future__ import annotations

from collections.abc import Sequence
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise

from deploy.problems import Problems, dotted
from deploy.sections import TaskDraft


def start_order(tasks: Sequence[TaskDraft], problems: Problems) -> tuple[TaskDraft, ...]:
    """The tasks in start order; among equals, as written. A cycle is reported; then it is the file's order."""
    by_name = {task.name: task for task in tasks}
    needs = {
        task.name: [name for name in (*_used(task), task.pager, *task.depends) if name in by_name and name != task.name]
        for task in tasks
    }
    position = {task.name: index for index, task in enumerate(tasks)}
    sorter = TopologicalSorter(needs)
    try:
        sorter.prepare()
    except CycleError as error:
        _report(error.args[1][::-1], by_name, problems)
        return tuple(tasks)
    order: list[str] = []
    ready: list[str] = []
    while sorter.is_active():
        ready = sorted({*ready, *sorter.get_ready()}, key=position.__getitem__)
        order.append(ready.pop(0))
        sorter.done(order[-1])
    return tuple(by_name[name] for name in order)


def _used(task: TaskDraft) -> list[str]:
    return [use.task for use in task.uses if not use.late]


def _report(cycle: Sequence[str], by_name: dict[str, TaskDraft], problems: Problems) -> None:
    """``cycle`` lists each task before one that it uses, the first again at the end."""
    start = min(range(len(cycle) - 1), key=lambda index: list(by_name).index(cycle[index]))
    names = [*cycle[start:-1], *cycle[:start], cycle[start]]
    uses = [use.path for use in by_name[names[0]].uses if use.task == names[1] and not use.late]
    draft = by_name[names[0]]
    path = uses[0] if uses else (*draft.path, "pager" if draft.pager == names[1] else "depends")
    # Only a use can be late.
    can_be_late = any(each in _used(by_name[name]) for name, each in pairwise(names))
    remedy = "mark the use that is not needed at start with late = true" if can_be_late else "leave one of these out"
    problems.add(
        path, f"{dotted(path)} closes a circle: {' uses '.join(names)}", f"none of them can start first; {remedy}"
    )
