"""Do root's objects for the tasks fit its CNode? Answered by counting as its builder and its allocator do.

An object takes three slots: its own, its memory's, and that of the half which was split off for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from deploy.sections import TaskDraft
from libsel4py import abi
from libsel4py.description import Grant, Task

AN_OBJECT: Final = 3
RESERVED: Final = 512  # initial capabilities, untyped memory and its first halves, what root makes while it runs
AVAILABLE: Final = (1 << abi.INITIAL_CNODE_BITS) - RESERVED
_OF_THREAD: Final = 3  # TCB, trap frame, scheduling context
_OF_STANDBY: Final = 5  # another VSpace; rooms and what is waited for, of both processes


def slots_needed(tasks: Sequence[TaskDraft] | Sequence[Task]) -> int:
    """Slots of root's CNode that the tasks take."""
    supervised = any(Grant.LIFECYCLE in task.grants for task in tasks)
    return sum(_of_task(task, supervised) for task in tasks)


def _of_task(task: TaskDraft | Task, supervised: bool) -> int:
    threads = 1 + task.threads
    optional = (task.provides, task.pool, task.state, task.heartbeat_us)
    objects = 4 + _OF_THREAD * threads + sum(map(bool, optional))  # 4: CNode, VSpace, reply, notification
    objects += sum(bool(assigned.io_space) for assigned in task.devices) + task.spare_replies
    if task.standby:
        objects += _OF_STANDBY + _OF_THREAD * threads
    handlers = threads * (1 + supervised + bool(task.pager)) + bool(task.standby)  # where faults go, badged
    return AN_OBJECT * objects + handlers
