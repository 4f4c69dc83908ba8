"""Takes orders from the console, one a line, and answers each with a line of JSON that begins with ``@``.

call N       N calls of four words to the echo task                         seconds a call
single N     N rounds of 64 invocations, each its own trap                  seconds an invocation
batch N      N rounds of 64 invocations by one trap each                    seconds an invocation
slow-single  as single and batch, with an invocation that the kernel's      seconds an invocation
slow-batch   fast path leaves alone (Frame.get_address)
start N      N tasks started and waited for, one after the other            seconds a task
crowd N      N tasks started, then all waited for                           seconds a task
revoke N     N capabilities derived from one, then revoked                  seconds in all, longest wait of a bystander
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from bench.tasks.bystander import Bystander
from bench.tasks.spawn import Spawner
from libsel4py import Component, component, uses
from libsel4py.abi import Label, ObjectType, Syscall, message_info
from libsel4py.capabilities import CNode, Notification
from libsel4py.interfaces.console import Console
from libsel4py.lowlevel.batch import Batch
from libsel4py.lowlevel.syscalls import FOREVER_NS, machine

BATCH = 64
FRAME_BITS = 12


def _time_single(rounds: int, cptr: int, info: int) -> dict[str, float]:
    start = time.perf_counter()
    for _ in range(rounds):
        for _ in range(BATCH):
            machine.trap(Syscall.CALL, cptr, info, 0, 0, 0, 0, 0, 0, FOREVER_NS)
    return {"seconds": (time.perf_counter() - start) / rounds / BATCH}


def _time_batch(rounds: int, cptr: int, info: int) -> dict[str, float]:
    entries = [(Syscall.CALL, cptr, info, (), ()) for _ in range(BATCH)]
    start = time.perf_counter()
    for _ in range(rounds):
        machine.batch(entries)
    return {"seconds": (time.perf_counter() - start) / rounds / BATCH}


@component
class Main(Component):
    """Measures."""

    console = uses(Console)
    bystander = uses(Bystander)

    def run(self) -> int:
        orders: dict[str, Callable[[int], dict[str, float]]] = {
            "call": self._call,
            "single": self._single,
            "batch": self._batch,
            "slow-single": self._slow_single,
            "slow-batch": self._slow_batch,
            "start": self._start,
            "crowd": self._crowd,
            "revoke": self._revoke,
        }
        self._target = Notification(self.task.memory.allocate(ObjectType.NOTIFICATION).start)
        self._frame = self.task.memory.allocate(ObjectType.FRAME, FRAME_BITS).start
        while True:
            name, _, count = self.console.read_line("", echo=False).partition(" ")
            if name == "end":
                return 0
            answer = orders[name](int(count))
            self.console.write("@" + json.dumps(answer) + "\n")

    def _call(self, count: int) -> dict[str, float]:
        trap, clock = machine.trap, time.perf_counter
        echo = self.task.environment.connections["echo"].cptr
        info = message_info(1, 4)
        start = clock()
        for _ in range(count):
            trap(Syscall.CALL, echo, info, 1, 2, 3, 4, 0, 0, FOREVER_NS)
        return {"seconds": (clock() - start) / count}

    def _single(self, rounds: int) -> dict[str, float]:
        return _time_single(rounds, self._target.cptr, 0)

    def _batch(self, rounds: int) -> dict[str, float]:
        return _time_batch(rounds, self._target.cptr, 0)

    def _slow_single(self, rounds: int) -> dict[str, float]:
        return _time_single(rounds, self._frame, message_info(Label.FRAME_GET_ADDRESS, 0))

    def _slow_batch(self, rounds: int) -> dict[str, float]:
        return _time_batch(rounds, self._frame, message_info(Label.FRAME_GET_ADDRESS, 0))

    def _start(self, count: int) -> dict[str, float]:
        spawner = Spawner(self.task)
        start = time.perf_counter()
        for _ in range(count):
            spawner.start()
            spawner.wait()
        seconds = (time.perf_counter() - start) / count
        spawner.close()
        return {"seconds": seconds}

    def _crowd(self, count: int) -> dict[str, float]:
        spawners = [Spawner(self.task) for _ in range(count)]
        start = time.perf_counter()
        for spawner in spawners:
            spawner.start()
        for spawner in spawners:
            spawner.wait()
        seconds = (time.perf_counter() - start) / count
        for spawner in spawners:
            spawner.close()
        return {"seconds": seconds, "free": self.task.memory.statistics().free_bytes}

    def _revoke(self, count: int) -> dict[str, float]:
        task = self.task
        bits = (count - 1).bit_length()
        table = CNode(task.memory.allocate(ObjectType.CNODE, bits).start)
        parent = task.memory.allocate(ObjectType.ENDPOINT).start
        for first in range(0, count, BATCH):
            with Batch() as batch:
                for slot in range(first, min(first + BATCH, count)):
                    batch.queue(table.mint, slot, task.cnode, parent, 1 + slot, dest_depth=bits)
        self.bystander.begin()
        start = time.perf_counter()
        task.cnode.revoke(parent)
        seconds = time.perf_counter() - start
        calls, longest = self.bystander.end()
        task.memory.free(parent)
        task.memory.free(table.cptr)
        return {"seconds": seconds, "longest_wait": longest / 1e9, "bystander_calls": calls}
