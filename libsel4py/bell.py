"""A notification of one's own that another task may ring, and nothing else with it: how one side of a ring is woken.

    bell = Bell.allocate()
    peer = service.connect(bell.peer)          # a method that takes a `Notification` and gives back the server's
    ring = Producer(space.attach(), layout, wake=peer.signal, sleep=bell.wait)

Not the task's own notification: that one is bound to its thread, and whoever waits on it takes signals of all others.
A server, which waits at its endpoint, is rung by that one all the same: `server_bell`.
"""

from __future__ import annotations

from types import TracebackType

from libsel4py.abi import ObjectType, Rights
from libsel4py.capabilities import Notification
from libsel4py.environment import SERVER_SIGNAL, SIGNAL_BADGE
from libsel4py.task import Task, current_task

BADGE = 1


class Bell:
    """Attributes: ``own``, to wait on; ``peer``, to hand over, by which it is rung. A context manager."""

    def __init__(self, task: Task, own: Notification, peer: Notification) -> None:
        self._task, self.own, self.peer = task, own, peer

    @classmethod
    def allocate(cls, task: Task | None = None) -> Bell:
        """A bell from the task's pool. Raises NotEnoughMemory, OutOfSlots."""
        task = task or current_task()
        own = Notification(task.memory.allocate(ObjectType.NOTIFICATION).start)
        try:
            slot = task.slots.allocate()
        except BaseException:
            task.memory.free(own.cptr)
            raise
        task.cnode.mint(slot, task.cnode, own.cptr, BADGE, Rights.WRITE)
        return cls(task, own, Notification(slot))

    def wait(self, timeout: float | None = None) -> None:
        """Until it is rung, or was rung since the last wait. Raises Timeout."""
        self.own.wait(timeout)

    def close(self) -> None:
        """Give it up; nobody else can ring it any more."""
        self._task.delete(self.peer)
        self._task.memory.free(self.own.cptr)

    def __enter__(self) -> Bell:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def server_bell(task: Task | None = None) -> Notification:
    """A capability by which another task may signal `SERVER_SIGNAL` to this one's server (`Server.on_signal`).

    It takes a slot, and is the caller's to delete. Raises OutOfSlots.
    """
    task = task or current_task()
    slot = task.slots.allocate()
    try:
        task.cnode.mint(slot, task.cnode, task.notification.cptr, SIGNAL_BADGE | SERVER_SIGNAL, Rights.WRITE)
    except BaseException:
        task.slots.free(slot)
        raise
    return Notification(slot)
