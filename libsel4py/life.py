"""What a server's clients watch to be told of its end: an object of its own memory, which its end takes away.

What they are given has no rights: they can do nothing with it but watch it (`DeathNotice`), and copy it.
"""

from __future__ import annotations

from libsel4py.abi import ObjectType, Rights
from libsel4py.capabilities import Endpoint
from libsel4py.task import Task


class Life:
    """Attributes: ``capability``, without rights, for clients."""

    def __init__(self, task: Task) -> None:
        """Raises NotEnoughMemory, OutOfSlots."""
        self._task = task
        self._whole = Endpoint(task.memory.allocate(ObjectType.ENDPOINT).start)
        slot = task.slots.allocate()
        task.cnode.mint(slot, task.cnode, self._whole.cptr, 0, Rights.NONE)
        self.capability = Endpoint(slot)

    def end(self) -> None:
        """End it before the task does: all who watch it are told."""
        self._task.cnode.revoke(self._whole.cptr)
        self._task.memory.free(self._whole.cptr)
