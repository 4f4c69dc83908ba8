"""The management socket under requests that do not stop: the rest of the kernel has its turns between them."""

from __future__ import annotations

import asyncio
import itertools
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import msgpack
import pytest
import zmq

from kerneld.host import management
from kerneld.host.management import MOST_PAUSE_SECONDS, Management
from kerneld.host.system import System

REQUESTS = 50
BUSY_NS = 2_000_000


@dataclass
class Kernel:
    """The event loop's other work, and an operation that takes its time."""

    rounds: int = 0  # of the loop
    seen: list[tuple[int, int, int]] = field(default_factory=list)  # begin and end of each request, and the round

    def turn(self) -> None:
        self.rounds += 1
        asyncio.get_running_loop().call_soon(self.turn)

    def busy(self, system: System, request: object) -> None:
        begin = time.monotonic_ns()
        while time.monotonic_ns() < begin + BUSY_NS:
            pass
        self.seen.append((begin, time.monotonic_ns(), self.rounds))

    async def serve(self, folder: Path) -> None:
        """Requests that were all sent before the first is answered."""
        context = zmq.Context[zmq.Socket[bytes]]()
        asking = context.socket(zmq.DEALER)
        asking.linger = 0
        served = Management(cast(System, None), folder)
        served.open()
        asking.connect(f"ipc://{folder / 'management'}")
        for _ in range(REQUESTS):
            asking.send_multipart([b"", msgpack.packb({"op": "busy"})])
        self.turn()
        while len(self.seen) < REQUESTS:
            await asyncio.sleep(0)
        served.close()
        context.destroy()


def test_requests_without_pause_leave_the_kernel_half_of_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert BUSY_NS / 1e9 < MOST_PAUSE_SECONDS
    kernel = Kernel()
    monkeypatch.setitem(management.ALL_OPERATIONS, "busy", kernel.busy)
    asyncio.run(kernel.serve(tmp_path))
    for (_, ended, earlier), (begun, _, later) in itertools.pairwise(kernel.seen):
        assert later > earlier
        assert begun - ended >= BUSY_NS
