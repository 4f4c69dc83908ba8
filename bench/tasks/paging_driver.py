"""Takes orders about memory from the console, one a line, and answers each with a line of JSON that begins with ``@``.

fault PAGES AHEAD BITS  another task reads so many pages that are not there, in order, and this one is its pager: it
                    maps AHEAD frames of 2^BITS bytes for each fault                        seconds a page
map FRAMES          so many frames retyped and mapped here, by batches                      seconds a frame
revoke TASKS        a frame that so many tasks have mapped and read is revoked; each then   seconds a task, faults
                    tries to read it again
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from bench.tasks import faulter
from libsel4py import Component, abi, component, uses
from libsel4py.abi import FaultLabel, ObjectType, Rights
from libsel4py.capabilities import TCB, CNode, Endpoint, Frame, Reply, SchedContext, SchedControl, VSpace
from libsel4py.capabilities.frame import prepare_map
from libsel4py.environment import CNODE_DEPTH, Slot
from libsel4py.interfaces.console import Console
from libsel4py.lowlevel.batch import Batch
from libsel4py.lowlevel.syscalls import Message, Received
from libsel4py.task import Task

IMAGE: Final = 3  # `bench.tasks.faulter` in the table of boot images: root, then the tasks in start order
BATCH: Final = 64
PAGE_BITS: Final = 12
PAGE: Final = 1 << PAGE_BITS
BASE: Final = 0x2000_0000_0000
READER_BITS: Final = 24  # of its VSpace: whoever has thousands of pages mapped has room for a table of them
CROWD_BITS: Final = 21  # of each of a thousand
CNODE_BITS: Final = 4
ORDERS, RESULTS = 1, 2  # slots of a faulter's CNode
TRAP_FRAME_ADDRESS: Final = 0x20_0000_0000
READ_WRITE: Final = Rights.READ | Rights.WRITE


@dataclass(frozen=True)
class Faulter:
    """A task that reads what it is told to; its faults and results come to one endpoint."""

    vspace: VSpace
    orders: Endpoint
    made: tuple[int, ...]

    def read(self, pages: int) -> None:
        self.orders.send(Message(0, (BASE, pages)))


class Board:
    """Makes faulters, and hears of them."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self.endpoint = Endpoint(task.memory.allocate(ObjectType.ENDPOINT).start)
        self.reply = Reply(task.memory.allocate(ObjectType.REPLY).start)

    def faulter(self, memory_bits: int) -> Faulter:
        task, make = self._task, self._task.memory.allocate
        tcb = TCB(make(ObjectType.TCB).start)
        frame = Frame(make(ObjectType.FRAME, abi.TRAP_FRAME_BITS).start)
        cnode = CNode(make(ObjectType.CNODE, CNODE_BITS).start)
        vspace = VSpace(make(ObjectType.VSPACE, memory_bits).start)
        context = SchedContext(make(ObjectType.SCHED_CONTEXT, 8).start)
        orders = Endpoint(make(ObjectType.ENDPOINT).start)
        for slot, source in ((ORDERS, orders), (RESULTS, self.endpoint)):
            cnode.copy(slot, task.cnode, source.cptr, dest_depth=CNODE_BITS)
        tcb.configure(cnode, abi.cnode_cap_data(0, abi.WORD_BITS - CNODE_BITS), vspace, 0, TRAP_FRAME_ADDRESS, frame)
        SchedControl(task.environment.authorities["sched-control"]).configure_flags(context, 10_000, 10_000)
        tcb.set_sched_params(TCB(Slot.TCB), 0, 0, context, self.endpoint)
        registers = [0] * abi.REGISTERS
        registers[abi.REG_RIP] = IMAGE
        registers[abi.REG_RDI], registers[abi.REG_RSI] = ORDERS, RESULTS
        tcb.write_registers(1, tuple(registers))
        made = tuple(each.cptr for each in (tcb, frame, vspace, context, orders, cnode))
        return Faulter(vspace, orders, made)

    def close(self, faulter: Faulter) -> None:
        for slot in faulter.made:
            self._task.memory.free(slot)


def nanoseconds(message: Received) -> int:
    """How long the reading took that the message tells of. Raises RuntimeError if it tells of something else."""
    if message.label != faulter.DONE:
        raise RuntimeError(f"a task that reads pages sent {message}")
    return message.words[0]


@component
class Main(Component):
    """Measures."""

    console = uses(Console)

    def run(self) -> int:
        orders: dict[str, Callable[..., dict[str, float]]] = {
            "fault": self._fault,
            "map": self._map,
            "revoke": self._revoke,
        }
        self._board = Board(self.task)
        self._reader = self._board.faulter(READER_BITS)
        self._frames: dict[int, list[Frame]] = {}  # to page with, by size bits
        while True:
            name, *numbers = self.console.read_line("", echo=False).split()
            if name == "end":
                return 0
            answer = orders[name](*map(int, numbers))
            self.console.write("@" + json.dumps(answer) + "\n")

    def _fault(self, pages: int, ahead: int, bits: int) -> dict[str, float]:
        vspace, board, count = self._reader.vspace, self._board, (pages << PAGE_BITS) >> bits
        frames = self._frames.setdefault(bits, [])
        while len(frames) < count:
            frames += map(Frame, self.task.memory.allocate(ObjectType.FRAME, bits, BATCH))
        self._reader.read(pages)
        batch, answer = Batch(), Message()
        message = board.endpoint.recv(board.reply)
        while message.label == FaultLabel.VM_FAULT:
            first = message.words[1] - BASE >> bits
            for number in range(first, min(first + ahead, count)):
                batch.queue_prepared(prepare_map(frames[number], BASE + (number << bits), READ_WRITE, 0, vspace=vspace))
            message = batch.reply_recv(board.endpoint.cptr, answer, board.reply.cptr)
        taken = nanoseconds(message)
        with Batch() as batch:
            for frame in frames[:count]:
                batch.queue(frame.unmap)
        return {"seconds": taken / 1e9 / pages}

    def _map(self, frames: int) -> dict[str, float]:
        memory, vspace = self.task.memory, self.task.vspace
        start = time.perf_counter()
        made = []
        for first in range(0, frames, abi.RETYPE_MAX_OBJECTS):
            slots = memory.allocate(ObjectType.FRAME, PAGE_BITS, min(abi.RETYPE_MAX_OBJECTS, frames - first))
            made.append(slots)
            with Batch() as batch:
                for number, slot in enumerate(slots, first):
                    batch.queue(Frame(slot).map, BASE + (number << PAGE_BITS), READ_WRITE, 0, vspace=vspace)
        seconds = time.perf_counter() - start
        for slots in made:
            memory.free(slots.start)
        return {"seconds": seconds / frames}

    def _revoke(self, tasks: int) -> dict[str, float]:
        task, board = self.task, self._board
        frame = task.memory.allocate(ObjectType.FRAME, PAGE_BITS).start
        faulters = [board.faulter(CROWD_BITS) for _ in range(tasks)]
        copies = [task.slots.allocate() for _ in faulters]
        for slot, each in zip(copies, faulters, strict=True):
            task.cnode.copy(slot, task.cnode, frame, dest_depth=CNODE_DEPTH)
            Frame(slot).map(BASE, READ_WRITE, 0, vspace=each.vspace)
            each.read(1)
            nanoseconds(board.endpoint.recv(board.reply))
        start = time.perf_counter()
        task.memory.free(frame)
        seconds = time.perf_counter() - start
        faults = 0
        for each in faulters:
            each.read(1)
            faults += board.endpoint.recv(board.reply).label == FaultLabel.VM_FAULT
            board.close(each)
        for slot in copies:
            task.slots.free(slot)
        return {"seconds": seconds / tasks, "faults": faults}
