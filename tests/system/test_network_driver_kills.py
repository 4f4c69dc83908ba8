"""The card's driver is killed under a transfer: the network server hears of it, and opens the next life at once."""

from __future__ import annotations

import asyncio
import statistics
import time
from pathlib import Path
from typing import Final

import pytest

from deploy.management import Management
from servers.network.main import BUSY_LOOK_SECONDS
from servers.network.stack import is_built
from tests.system.supervisor import Supervisor
from tests.system.test_network import served

pytestmark = pytest.mark.skipif(not is_built(), reason="lwIP is not built")

KILLS: Final = 7
PIECE: Final = bytes(range(256)) * 64
SETTLE_BYTES: Final = 1 << 20  # between two kills


class Transfer:
    """Bytes that a task sends back.

    Attributes: came, how many did; pause, the longest time between two pieces since it was set to 0.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.came = 0
        self.pause = 0.0
        self.moved = asyncio.Event()

    async def send(self) -> None:
        while True:
            self._writer.write(PIECE)
            await self._writer.drain()

    async def receive(self) -> None:
        last = time.monotonic()
        while data := await self._reader.read(len(PIECE)):
            at = self.came % len(PIECE)
            assert data == (PIECE * 2)[at : at + len(data)], "other bytes than were sent"
            now = time.monotonic()
            self.pause, last = max(self.pause, now - last), now
            self.came += len(data)
            self.moved.set()

    async def wait_for(self, count: int) -> None:
        while self.came < count:
            self.moved.clear()
            await self.moved.wait()


def wait_driver(management: Management) -> None:
    """Wait until a life of the driver's runs."""
    for _ in management.events(0.1):
        rows = management.request("ps")
        assert isinstance(rows, list)
        if any(row["name"] == "ethernet" and row["pid"] and row["state"] != "ENDING" for row in rows):
            return


async def pauses(port: int, management: Management) -> list[float]:
    transfer = Transfer(*await connected(port))
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(each) for each in (transfer.send(), transfer.receive())]
        found = []
        for _ in range(KILLS):
            await asyncio.to_thread(wait_driver, management)  # what came may have been on its way before the last kill
            await transfer.wait_for(transfer.came + SETTLE_BYTES)
            transfer.pause = 0.0
            management.request("kill", task="ethernet")
            await transfer.wait_for(transfer.came + SETTLE_BYTES)
            found.append(transfer.pause)
        for each in tasks:
            each.cancel()
    return found


async def connected(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection that answers: the task may begin to listen later than the host asks."""
    while True:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(PIECE)
        try:
            if await reader.readexactly(len(PIECE)) == PIECE:
                return reader, writer
        except (ConnectionError, asyncio.IncompleteReadError):
            writer.close()


def test_frames_go_on_before_anybody_would_look(sel4py: Supervisor, tmp_path: Path) -> None:
    with (
        served(sel4py, tmp_path, scene="asyncio") as port,
        Management(sel4py.folder / "served") as management,
    ):
        found = asyncio.run(asyncio.wait_for(pauses(port, management), 60))
    print("pauses:", ", ".join(f"{1000 * each:.0f} ms" for each in found))
    assert statistics.median(found) < BUSY_LOOK_SECONDS
