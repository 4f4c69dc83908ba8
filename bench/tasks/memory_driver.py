"""Takes orders from the console, one a line, and answers each with a line of JSON that begins with ``@``.

prepare                          nothing
bulk BUFFERS BYTES PIECES        so many pieces of so many bytes go through a ring of so many buffers  seconds in all
turn BYTES COUNT                 memory that both have mapped is the other's, and one's own again    seconds each
hand-over BYTES COUNT            memory goes to another task, which maps it and reads of it, and back  seconds each
capability BYTES COUNT           the same without mapping it: what the capability costs alone          seconds each
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from bench.tasks.drain import PATIENCE, Drain
from libsel4py import Component, component, uses
from libsel4py.bell import Bell
from libsel4py.bulk import Layout, Producer
from libsel4py.channels import THRESHOLD
from libsel4py.dataspace import DataSpace, SharedMemory
from libsel4py.interfaces.console import Console

Answer = dict[str, float]


@component
class Main(Component):
    """Measures."""

    console = uses(Console)
    drain = uses(Drain)

    def run(self) -> int:
        orders: dict[str, Callable[..., Answer]] = {
            "prepare": dict,
            "bulk": self._bulk,
            "turn": lambda size, count: self._turn(int(size), int(count)),
            "hand-over": lambda size, count: self._hand_over(self.drain.touch, int(size), int(count)),
            "capability": lambda size, count: self._hand_over(self.drain.hold, int(size), int(count)),
        }
        while True:
            name, *arguments = self.console.read_line("", echo=False).split()
            if name == "end":
                return 0
            self.console.write("@" + json.dumps(orders[name](*arguments)) + "\n")

    def _bulk(self, buffers: str, size: str, pieces: str) -> Answer:
        layout, count = Layout(int(buffers), int(size)), int(pieces)
        with Bell.allocate() as bell, DataSpace.allocate(layout.size) as space:
            peer = self.drain.open(space.share(), layout.buffers, layout.buffer_bytes)
            self.drain.use_bell(bell.peer)
            ring = Producer(space.attach(), layout, peer.signal, bell.wait)
            self._transfer(ring, layout, layout.buffers)  # the memory is there, on both sides
            start = time.perf_counter()
            self._transfer(ring, layout, count)
            seconds = time.perf_counter() - start
            self.drain.close()
            ring.close()
            self.task.delete(peer)
        return {"seconds": seconds}

    def _transfer(self, ring: Producer, layout: Layout, pieces: int) -> None:
        source, size = bytes(range(256)) * (layout.buffer_bytes // 256), layout.buffer_bytes
        self.drain.take(pieces)
        for _ in range(pieces):
            buffer = ring.acquire(PATIENCE)
            buffer.view[:] = source
            ring.submit(buffer, size)
        if self.drain.taken() != pieces:
            raise RuntimeError("the consumer has taken fewer pieces than were sent")

    def _turn(self, size: int, count: int) -> Answer:
        turn = self.drain.turn
        with DataSpace.allocate(size) as space, memoryview(space.attach()) as view:
            self.drain.keep(space.share())
            for _ in range(THRESHOLD):
                turn()  # goes by a channel from then on
            start = time.perf_counter()
            for number in range(count):
                view[-1] = number & 127
                turn()
            seconds = time.perf_counter() - start
            if turn() != view[0] + view[-1]:
                raise RuntimeError("the other task does not see this memory")
            self.drain.leave()
        return {"seconds": seconds / count}

    def _hand_over(self, give: Callable[[SharedMemory], object], size: int, count: int) -> Answer:
        with DataSpace.allocate(size) as space:
            with memoryview(space.attach()) as view:
                view[:] = bytes(size)
            shared = space.share()
            give(shared)
            start = time.perf_counter()
            for _ in range(count):
                give(shared)
            return {"seconds": (time.perf_counter() - start) / count}
