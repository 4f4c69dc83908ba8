"""asyncio streams over the network server and a loopback stack."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from libsel4py import aio
from libsel4py.net_aio import AsyncNet
from libsel4py.testing import worker_threads
from tests.loopback_stack import WINDOW
from tests.unit.servers.test_network import opened, served


def run(main: Callable[[AsyncNet], Coroutine[Any, Any, None]]) -> None:
    """Run a test on an event loop, with a session of the server."""

    async def within(network: AsyncNet) -> None:
        async with network:
            await asyncio.wait_for(main(network), 20)

    async def begin() -> None:
        await within(AsyncNet(made))

    with served() as (_, client), opened(client, 19) as made, worker_threads(2):
        aio.run(begin())


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(5000):
        writer.write(data)
        await writer.drain()
    writer.close()


def test_a_stream_is_echoed_to_its_end() -> None:
    async def main(network: AsyncNet) -> None:
        data = bytes(range(256)) * (4 * WINDOW // 256)
        async with await network.start_server(echo, "", 7) as server:
            reader, writer = await network.open_connection(*server.getsockname())

            async def send() -> None:
                writer.write(data)
                await writer.drain()
                writer.write_eof()

            sends = asyncio.create_task(send())
            assert await reader.read(-1) == data
            await sends
            writer.close()
            await writer.wait_closed()

    run(main)


def test_many_streams_at_once() -> None:
    async def main(network: AsyncNet) -> None:
        async def one(number: int) -> bytes:
            reader, writer = await network.open_connection("127.0.0.1", 7)
            writer.write(b"%d\n" % number)
            line = await reader.readline()
            writer.close()
            return line

        async with await network.start_server(echo, "", 7):
            lines = await asyncio.gather(*(one(number) for number in range(10)))
            assert lines == [b"%d\n" % number for number in range(10)]

    run(main)


def test_nobody_listening_is_refused() -> None:
    async def main(network: AsyncNet) -> None:
        with pytest.raises(ConnectionRefusedError):
            await network.open_connection("127.0.0.1", 9)

    run(main)


def test_the_end_of_the_other_side_is_seen() -> None:
    async def main(network: AsyncNet) -> None:
        listener = network.net.create_server(("", 7))
        reader, writer = await network.open_connection("127.0.0.1", 7)
        accepted, _ = listener.accept()
        accepted.close()
        assert await reader.read(-1) == b""
        writer.close()
        listener.close()

    run(main)
