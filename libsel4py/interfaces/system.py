# mypy: disable-error-code="empty-body"
"""What root knows about the running system, for the shell and other instruments."""

from __future__ import annotations

import msgspec

from libsel4py.errors import ServiceError
from libsel4py.interface import Interface, long_result, raises
from libsel4py.signature import Word


class UnknownTask(ServiceError):
    """No task of this name runs."""


class NotPermitted(ServiceError):
    """The system description does not let the asking client do this."""


class TaskInfo(msgspec.Struct, frozen=True):
    """One task. ``memory_bytes`` is what it was given; ``state`` is running, waiting, suspended, or dead and why.

    ``strategy`` is its group's, "" where root itself supervises it; ``last_cause`` is why its last life ended.
    """

    name: str
    image: str
    state: str
    priority: int = 0
    pid: int = 0
    threads: int = 1
    memory_bytes: int = 0
    consumed_us: int = 0
    restarts: int = 0
    strategy: str = ""
    last_cause: str = ""


class UntypedInfo(msgspec.Struct, frozen=True):
    """A part of RAM. ``depth`` 0 is what the kernel keeps, or an initial untyped; each follows its parent.

    Objects fill ``used_bytes``, alignment leaves ``padding_bytes``, and the rest is free.
    """

    depth: int
    address: int
    bytes: int
    used_bytes: int
    padding_bytes: int = 0
    owner: str = ""
    is_device: bool = False


class CapabilityInfo(msgspec.Struct, frozen=True):
    """One occupied slot of a task's CNode. ``rights`` in seL4's letters, for example ``RWG``."""

    slot: int
    type: str
    rights: str = ""
    badge: int = 0
    description: str = ""


class InterruptInfo(msgspec.Struct, frozen=True):
    """One interrupt line and who handles it. ``count`` since the system started."""

    line: int
    device: str
    task: str
    count: int = 0


class System(Interface):
    """The instruments. Each list is sorted as its text says, and may be long."""

    @long_result
    def tasks(self) -> list[TaskInfo]:
        """All tasks, by name."""

    @long_result
    def memory(self) -> list[UntypedInfo]:
        """All of RAM, as root knows it: what those of ``depth`` 0 have adds up to it. Parents before children.

        What a task makes of its pool root does not see: the whole pool is used, by its owner.
        """

    @raises(UnknownTask, NotPermitted)
    @long_result
    def capabilities(self, task: str) -> list[CapabilityInfo]:
        """What a task's CNode holds, by slot."""

    @long_result
    def interrupts(self) -> list[InterruptInfo]:
        """Interrupt lines that have a handler, by line."""

    @raises(UnknownTask, NotPermitted)
    @long_result
    def task_log(self, task: str, lines: int = 50) -> list[str]:
        """The last lines of a task's log."""

    @raises(UnknownTask, NotPermitted)
    def kill(self, task: str) -> None:
        """End a task. Its restart policy decides what comes after."""

    @raises(UnknownTask, NotPermitted)
    def stop_task(self, task: str) -> None:
        """Ask a task to end, and end it if it does not; then it stays down. Not waited for. NotPermitted: root itself
        supervises it, and knows `kill` alone."""

    @raises(UnknownTask, NotPermitted)
    def start_task(self, task: str) -> None:
        """Start a task that is down. As `stop_task`."""

    @raises(UnknownTask, NotPermitted)
    def restart_task(self, task: str) -> None:
        """As `stop_task`, then `start_task`."""

    @raises(UnknownTask, NotPermitted)
    @long_result
    def why(self, task: str) -> list[str]:
        """Why a task does not run: whom it waits for, whom that waits for, to the end of the chain."""

    def uptime(self) -> Word:
        """Nanoseconds since root started."""

    @raises(UnknownTask, NotPermitted)
    def update_task(self, task: str, image: str) -> None:
        """As `restart_task`, with another boot image that its description permits; one that is down starts with it.

        One that does not come up in time is followed by the former image. Who calls the task waits meanwhile.
        """
