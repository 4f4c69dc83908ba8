"""Supervision as a description says it: the groups, and what of it concerns several tasks at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from deploy.complaints import check_complaints
from deploy.problems import Problems, dotted, suggest
from deploy.reader import Table
from deploy.recovery import check_recovery
from deploy.scanner import Path
from deploy.sections import TaskDraft
from libsel4py.description import (
    BACKOFF_LIMIT_US,
    INTENSITY,
    PERIOD_US,
    RECOVERY_TIMEOUT_US,
    STOP_TIMEOUT_US,
    GiveUp,
    Grant,
    Group,
    Restart,
    Strategy,
)

INTENSITY_HIGH: Final = 1000
PERIOD_LOW_US: Final = 1000
DAY_US: Final = 86_400_000_000
_SERVER: Final = "add a task with image = 'servers.reincarnation.main' and grants = ['lifecycle']"


@dataclass(frozen=True, slots=True)
class GroupDraft:
    """A group as it was written: its tasks may not exist."""

    path: Path
    group: Group


def read_group(name: str, table: Table) -> GroupDraft:
    table.require("tasks", "['TASK', …]")
    group = Group(
        name=name,
        tasks=table.strings("tasks"),
        strategy=Strategy(table.string("strategy", "one_for_one", tuple(each.value for each in Strategy))),
        intensity=table.integer("intensity", INTENSITY, 0, INTENSITY_HIGH),
        period_us=table.duration("period", PERIOD_US, PERIOD_LOW_US, DAY_US),
        backoff_us=table.duration("backoff", 0, 0, DAY_US),
        backoff_limit_us=table.duration("backoff_limit", BACKOFF_LIMIT_US, PERIOD_LOW_US, DAY_US),
        give_up=GiveUp(table.string("give_up", "leave", tuple(each.value for each in GiveUp))),
        recovery=table.string("recovery", ""),
        recovery_timeout_us=table.duration("recovery_timeout", RECOVERY_TIMEOUT_US, PERIOD_LOW_US, DAY_US),
    )
    if group.backoff_us > group.backoff_limit_us:
        table.report("backoff", "is longer than backoff_limit", "the limit is the longest delay: raise it")
    table.finish()
    return GroupDraft(table.path, group)


def check_supervision(tasks: Sequence[TaskDraft], groups: Sequence[GroupDraft], problems: Problems) -> None:
    """Reports what of supervision does not fit together."""
    supervisors = [task for task in tasks if Grant.LIFECYCLE in task.grants]
    for task in tasks:
        _check_depends(task, tasks, problems)
        check_complaints(task, tasks, [draft.group for draft in groups], problems)
        if not supervisors:
            _check_unsupervised(task, problems)
        # Nobody would see whether a new version has come up.
        if task.versions and not (task.heartbeat_us and Grant.LIFECYCLE not in task.grants):
            finding = f"{dotted(task.path)} has versions, and no heartbeat that the reincarnation server asks for"
            problems.add((*task.path, "versions"), finding, "add a heartbeat: the first answer is what shows it")
        if task.first_heartbeat_us and not task.heartbeat_us:
            finding = f"{dotted(task.path)} has a first_heartbeat, and no heartbeat"
            problems.add((*task.path, "first_heartbeat"), finding, "say how often it is asked: add heartbeat")
        # Only a server's loop answers.
        if task.heartbeat_us and not task.provides:
            finding = f"{dotted(task.path)} has heartbeats, and provides nothing"
            problems.add((*task.path, "heartbeat"), finding, "leave heartbeat out: a server answers them, no program")
    for task in supervisors[1:]:
        finding = f"{dotted(task.path)} has the grant 'lifecycle', as {supervisors[0].name} has"
        problems.add((*task.path, "grants"), finding, "one task supervises all others")
    if supervisors:
        _check_supervisor(supervisors[0], problems)
    _check_groups(tasks, groups, supervisors, problems)
    check_recovery(tasks, {draft.path: draft.group for draft in groups}, problems)


def _check_depends(task: TaskDraft, tasks: Sequence[TaskDraft], problems: Problems) -> None:
    for index, name in enumerate(task.depends):
        path: Path = (*task.path, "depends", index)
        # It would wait for itself.
        if name == task.name:
            problems.add(path, f"{dotted(path)} is the task itself", "name those that must run before it")
        elif all(each.name != name for each in tasks):
            problems.add(
                path, f"{dotted(path)}: there is no task {name!r}", suggest(name, (each.name for each in tasks))
            )


def _check_unsupervised(task: TaskDraft, problems: Problems) -> None:
    # Root's own rule knows restart and nothing more: a promise that nobody keeps is refused.
    for key, is_there in (("heartbeat", task.heartbeat_us > 0), ("stop_timeout", task.stop_timeout_us is not None)):
        if is_there:
            finding = f"{dotted(task.path)} has a {key}, and the system no reincarnation server"
            problems.add((*task.path, key), finding, _SERVER)


def _check_supervisor(task: TaskDraft, problems: Problems) -> None:
    name = dotted(task.path)
    # Faults come in at the endpoint of what a task provides.
    if not task.provides:
        remedy = "give it provides = { supervision = 'libsel4py.interfaces.supervision:Supervision' }"
        problems.add((*task.path, "grants"), f"{name} has the grant 'lifecycle', and provides nothing", remedy)
    # Whom it waits for it could not start again.
    for key, is_there in (("uses", bool(task.uses)), ("pager", bool(task.pager)), ("depends", bool(task.depends))):
        if is_there:
            finding = f"{name} supervises the others, and has {key}"
            problems.add((*task.path, key), finding, "leave it out: it can stand on root alone")
    # Root starts it again whatever happens, and does its work when that is no use.
    if task.essential:
        finding = f"{name} supervises the others, and has essential"
        problems.add((*task.path, "essential"), finding, "leave it out: root itself looks after it")
    if task.restart is Restart.NEVER:
        finding = f"{name} supervises the others, and its restart is 'never'"
        problems.add((*task.path, "restart"), finding, "write restart = 'always': root starts it again in any case")


def _check_groups(
    tasks: Sequence[TaskDraft], groups: Sequence[GroupDraft], supervisors: Sequence[TaskDraft], problems: Problems
) -> None:
    taken: dict[str, str] = {}
    known = {task.name for task in tasks}
    for draft in groups:
        if not supervisors:
            problems.add(draft.path, f"{dotted(draft.path)} needs a reincarnation server, and there is none", _SERVER)
            continue
        # A group of none would never do anything.
        if not draft.group.tasks and not _is_reported(draft, problems):
            problems.add((*draft.path, "tasks"), f"{dotted(draft.path)} has no tasks", "name those that it is of")
        for index, name in enumerate(draft.group.tasks):
            path: Path = (*draft.path, "tasks", index)
            if name not in known:
                problems.add(path, f"{dotted(path)}: there is no task {name!r}", suggest(name, known))
            # It cannot supervise itself.
            elif name == supervisors[0].name:
                remedy = "leave it out: root looks after it"
                problems.add(path, f"{dotted(path)}: {name!r} supervises the others", remedy)
            # One end would be answered by two rules.
            elif name in taken:
                finding = f"{dotted(path)}: {name!r} is in group {taken[name]!r} already"
                problems.add(path, finding, "a task is in one group")
            taken.setdefault(name, draft.group.name)


def _is_reported(draft: GroupDraft, problems: Problems) -> bool:
    """Whether its ``tasks`` was found to be wrong already."""
    return any(dotted(draft.path) in problem.finding for problem in problems.found)


def resolve(drafts: Sequence[GroupDraft], ordered: Sequence[str]) -> tuple[Group, ...]:
    """The groups, each with its tasks in start order."""
    return tuple(
        Group(
            **{key: getattr(draft.group, key) for key in draft.group.__struct_fields__ if key != "tasks"}, tasks=tasks
        )
        for draft in drafts
        if (tasks := tuple(name for name in ordered if name in draft.group.tasks))
    )


def stop_timeout(task: TaskDraft) -> int:
    """Microseconds."""
    return STOP_TIMEOUT_US if task.stop_timeout_us is None else task.stop_timeout_us
