"""Starts the image that ends at once, as a task of its own, paid from this task's pool."""

from __future__ import annotations

from libsel4py import abi
from libsel4py.abi import ObjectType
from libsel4py.capabilities import TCB, CNode, Endpoint, Frame, Reply, SchedContext, SchedControl, VSpace
from libsel4py.environment import Slot
from libsel4py.task import Task

IMAGE = 5  # `bench.tasks.nothing` in the table of boot images: root, then the tasks in start order
MEMORY_BITS = 20
CNODE_BITS = 4
TRAP_FRAME_ADDRESS = 0x20_0000_0000


class Spawner:
    """One task's objects."""

    def __init__(self, task: Task) -> None:
        make = task.memory.allocate
        self._task = task
        self._tcb = TCB(make(ObjectType.TCB).start)
        self._frame = Frame(make(ObjectType.FRAME, abi.TRAP_FRAME_BITS).start)
        self._cnode = CNode(make(ObjectType.CNODE, CNODE_BITS).start)
        self._vspace = VSpace(make(ObjectType.VSPACE, MEMORY_BITS).start)
        self._context = SchedContext(make(ObjectType.SCHED_CONTEXT, 8).start)
        self._endpoint = Endpoint(make(ObjectType.ENDPOINT).start)
        self._reply = Reply(make(ObjectType.REPLY).start)
        guard = abi.cnode_cap_data(0, abi.WORD_BITS - CNODE_BITS)
        self._tcb.configure(self._cnode, guard, self._vspace, 0, TRAP_FRAME_ADDRESS, self._frame)
        control = SchedControl(task.environment.authorities["sched-control"])
        control.configure_flags(self._context, 10_000, 10_000)
        self._tcb.set_sched_params(TCB(Slot.TCB), 0, 0, self._context, self._endpoint)

    def start(self) -> None:
        """Start the image from its beginning."""
        self._tcb.write_registers(1, (IMAGE, *[0] * (abi.REGISTERS - 1)))

    def wait(self) -> None:
        """Wait until its process has ended. Raises RuntimeError if it ended in another way."""
        message = self._endpoint.recv(self._reply)
        if message.label != abi.FaultLabel.USER_EXCEPTION or message.words[3:5] != (abi.ExceptionNumber.DEATH, 0):
            raise RuntimeError(f"the started task sent {message}")

    def close(self) -> None:
        """Give everything back."""
        objects = (self._tcb, self._frame, self._context, self._vspace, self._cnode, self._endpoint, self._reply)
        for capability in objects:
            self._task.memory.free(capability.cptr)
