"""What root tells the shell and other instruments: interface `System`, from root's own book-keeping and capabilities.

Rules: answers name what the system description gave, never another task's secrets; only tasks with the grant
``system-information`` hold a capability that reaches this.
"""

from __future__ import annotations

import time
from typing import Final

from libsel4py.abi import ObjectType
from libsel4py.description import System as Description
from libsel4py.errors import KernelError, RevokeFirst
from libsel4py.interfaces.lifecycle import OrderKind
from libsel4py.interfaces.system import (
    CapabilityInfo,
    InterruptInfo,
    NotPermitted,
    System,
    TaskInfo,
    UnknownTask,
    UntypedInfo,
)
from libsel4py.lowlevel.identify import identify
from libsel4py.signature import Word
from servers.root.authority import Authority
from servers.root.running_task import RunningTask
from servers.root.supervisor import Supervisor

SHOWN: Final = 100  # characters of a name that is no image's


class Information(System):
    """The instruments."""

    def __init__(
        self,
        authority: Authority,
        description: Description,
        tasks: list[RunningTask],
        supervisor: Supervisor,
    ) -> None:
        self._authority = authority
        self._description = description
        self._images = description.images
        self._tasks = tasks
        self._supervisor = supervisor
        self._started = time.monotonic_ns()

    def tasks(self) -> list[TaskInfo]:
        return [self._info(running) for running in sorted(self._tasks, key=lambda each: each.task.name)]

    def memory(self) -> list[UntypedInfo]:
        authority = self._authority
        kept = self._description.ram - authority.statistics().total_bytes
        return [UntypedInfo(0, 0, kept, kept, owner="kernel, and what root began with")] + [
            UntypedInfo(
                depth=block.depth,
                address=authority.addresses[block.root] + block.offset,
                bytes=1 << block.size_bits,
                used_bytes=block.used_bytes,
                padding_bytes=block.padding_bytes,
                owner=authority.owners.get(block.objects.start, "") if block.objects else "",
            )
            for block in authority.memory.blocks()
        ]

    def capabilities(self, task: str) -> list[CapabilityInfo]:
        running = self._find(task)
        found = []
        scratch = self._authority.slots.allocate()
        try:
            for slot, what in sorted(running.capabilities.items()):
                info = self._look(running, slot, scratch)
                if info is not None:
                    found.append(CapabilityInfo(slot=slot, type=info[0], rights=info[1], description=what))
        finally:
            self._authority.slots.free(scratch)
        return found

    def interrupts(self) -> list[InterruptInfo]:
        owners = {assigned.device: each.name for each in self._description.tasks for assigned in each.devices}
        return [
            InterruptInfo(line=device.irq, device=device.name, task=owners[device.name])
            for device in sorted(self._description.devices, key=lambda each: each.irq)
            if device.name in owners
        ]

    def task_log(self, task: str, lines: int = 50) -> list[str]:
        events = list(self._find(task).events)
        return events[-lines:] if lines > 0 else []

    def kill(self, task: str) -> None:
        self._supervisor.kill(self._find(task))

    def stop_task(self, task: str) -> None:
        self._supervisor.order(self._find(task), OrderKind.STOP)

    def start_task(self, task: str) -> None:
        self._supervisor.order(self._find(task), OrderKind.START)

    def restart_task(self, task: str) -> None:
        self._supervisor.order(self._find(task), OrderKind.RESTART)

    def update_task(self, task: str, image: str) -> None:
        running = self._find(task)
        known = dict.fromkeys((running.task.image, *running.task.versions))
        if image not in known:
            raise NotPermitted(f"{task} can be updated to {', '.join(known)}, and not to {image[:SHOWN]!r}")
        self._supervisor.order(running, OrderKind.UPDATE, image)

    def why(self, task: str) -> list[str]:
        running = self._find(task)
        lines = [f"{task} is {running.state}"]
        for number, thread in enumerate(running.objects.threads):
            prefix = f"thread {number}: " if len(running.objects.threads) > 1 else ""
            lines += [prefix + line for line in thread.tcb.explain().splitlines()]
        return lines

    def uptime(self) -> Word:
        return Word(time.monotonic_ns() - self._started)

    def _find(self, task: str) -> RunningTask:
        for running in self._tasks:
            if running.task.name == task:
                return running
        known = ", ".join(sorted(running.task.name for running in self._tasks))
        raise UnknownTask(f"there is no task {task!r}; there are {known}")

    def _look(self, running: RunningTask, slot: int, scratch: int) -> tuple[str, str] | None:
        """(type, rights) of what stands in a task's slot now; None if it is empty. Looked at by a copy, which goes."""
        root = self._authority.cnode
        try:
            root.copy(scratch, running.objects.cnode, slot, src_depth=running.objects.cnode_bits)
        except RevokeFirst:
            return ObjectType.UNTYPED.name, ""  # nothing else refuses a copy because of what was made of it
        except KernelError:
            return None
        found = identify(scratch)
        root.delete(scratch)
        return found.type, found.rights

    def _info(self, running: RunningTask) -> TaskInfo:
        task = running.task
        is_supervised = not self._supervisor.is_ours(running)
        return TaskInfo(
            name=task.name,
            image=self._images[running.image],
            state=running.state,
            priority=task.priority,
            threads=len(running.objects.threads),
            memory_bytes=task.memory + task.pool,
            consumed_us=running.consumed_us(),
            restarts=running.restarts,
            strategy=self._description.group(task.name).strategy.value if is_supervised else "",
            last_cause=running.last_cause,
        )
