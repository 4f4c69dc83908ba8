"""Waiting for a death, in programs: a server is called back (`Deaths`)."""

from __future__ import annotations

from libsel4py.abi import ObjectType
from libsel4py.bell import Bell
from libsel4py.capabilities import Capability, Death, DeathNotice
from libsel4py.task import Task, current_task


def wait_for_death(target: Capability, timeout: float | None = None, task: Task | None = None) -> Death:
    """Wait until the target ends. Raises Timeout, NotEnoughMemory, OutOfSlots, and as `DeathNotice.watch`."""
    task = task or current_task()
    with Bell.allocate(task) as bell:
        notice = DeathNotice(task.memory.allocate(ObjectType.DEATH_NOTICE).start)
        try:
            notice.watch(target, bell.peer)
            bell.wait(timeout)
            return notice.read()
        finally:
            task.memory.free(notice.cptr)
