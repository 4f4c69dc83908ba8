"""The echo server on the host's sockets: what comes goes back, and nobody waits for one who says nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from apps.echo.main import Echo

SECONDS = 10.0
Ask = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


def served(echo: Echo, client: Callable[[Ask], Awaitable[None]]) -> None:
    """Run clients against a server on the loopback."""

    async def main() -> None:
        async with await asyncio.start_server(echo.connected, "127.0.0.1", 0) as server:
            host, port = server.sockets[0].getsockname()
            await asyncio.wait_for(client(lambda: asyncio.open_connection(host, port)), SECONDS)

    asyncio.run(main())


async def echoed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, data: bytes) -> bool:
    writer.write(data)
    return await reader.readexactly(len(data)) == data


async def is_over(reader: asyncio.StreamReader) -> bool:
    try:
        return await reader.read() == b""
    except ConnectionResetError:
        return True


def test_what_comes_goes_back_while_another_says_nothing() -> None:
    async def client(connect: Ask) -> None:
        silent, first = await connect(), await connect()
        assert await echoed(*first, bytes(range(256)) * 1000)
        first[1].write_eof()
        assert await is_over(first[0])
        first[1].close()
        silent[1].close()

    served(Echo(patience=3600), client)


def test_who_says_nothing_is_let_go() -> None:
    async def client(connect: Ask) -> None:
        reader, writer = await connect()
        assert await echoed(reader, writer, b"once")
        assert await is_over(reader)
        writer.close()

    served(Echo(patience=0.1), client)


def test_more_than_there_is_room_for_are_hung_up_on() -> None:
    async def client(connect: Ask) -> None:
        kept, refused = await connect(), None
        assert await echoed(*kept, b"here")
        refused = await connect()
        assert await is_over(refused[0])
        refused[1].close()
        kept[1].write_eof()
        assert await is_over(kept[0])
        kept[1].close()
        again = await connect()
        assert await echoed(*again, b"again")
        again[1].close()

    served(Echo(most=1, patience=3600), client)
