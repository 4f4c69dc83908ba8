"""One client's connection: HTTP/1.1 by h11, request after request, until either side ends it.

Rules. Nothing that a client sends ends the server: a request that is none is answered with 400 where that can be said,
and the connection ends. Who sends no whole request within `PATIENCE_SECONDS`, or takes nothing for as long, is dropped;
and who sends none while others need the room. A request that says in two ways how long it is, by which servers that
stand in front of this one could be made to see two requests, is none.
A request's body is read and thrown away, up to `MOST_BODY_BYTES`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import closing, suppress
from http import HTTPStatus
from typing import Final, Protocol

import h11

from apps.httpd.content import Response, problem
from apps.httpd.room import Room

PATIENCE_SECONDS: Final = 30.0
MOST_BODY_BYTES: Final = 1 << 20
LINGER_SECONDS: Final = 2.0
LINGER_BYTES: Final = 4 << 20
READ_BYTES: Final = 64 << 10
SERVER: Final = "sel4py-httpd"


class Reader(Protocol):
    """Where requests come from: asyncio's StreamReader, or the SDK's."""

    async def read(self, n: int = -1, /) -> bytes: ...


class Writer(Protocol):
    """Where responses go: asyncio's StreamWriter, or the SDK's."""

    def write(self, data: bytes, /) -> None: ...
    async def drain(self) -> None: ...


Answer = Callable[[bytes, bytes, dict[bytes, bytes]], Response]


class _Ended(Exception):
    """The connection is over."""


async def serve(reader: Reader, writer: Writer, answer: Answer, room: Room | None = None) -> int:
    """Serve a connection to its end; returns how many requests were answered. Closing it is the caller's.

    Args:
        room: that it has a place in, if not one of its own.

    Raises:
        OSError: the connection broke. TimeoutError: the client was too slow, or its room was needed.
    """
    connection = h11.Connection(h11.SERVER)
    room = room or Room(1)
    count = 0
    try:
        while True:
            request = await _request(connection, reader, writer, room)
            response = answer(request.method, request.target, dict(request.headers))
            await _respond(connection, writer, request, response)
            count += 1
            if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
                return count
            connection.start_next_cycle()
    except _Ended:
        return count
    except h11.RemoteProtocolError as error:
        if connection.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            response = problem(HTTPStatus(error.error_status_hint), str(error))
            await _respond(connection, writer, None, response)
            await _linger(reader)
        return count


async def _linger(reader: Reader) -> None:
    """Take what is still coming: closing on it would be a reset, which may overtake the response."""
    with suppress(TimeoutError):
        async with asyncio.timeout(LINGER_SECONDS):
            left = LINGER_BYTES
            while left > 0 and (data := await reader.read(READ_BYTES)):
                left -= len(data)


async def _request(connection: h11.Connection, reader: Reader, writer: Writer, room: Room) -> h11.Request:
    """The next request, its body thrown away."""
    found: h11.Request | None = None
    body_bytes = 0
    async with room.patience(PATIENCE_SECONDS):
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                if connection.they_are_waiting_for_100_continue:
                    go_on = h11.InformationalResponse(status_code=HTTPStatus.CONTINUE.value, headers=[])
                    await _send(connection, writer, [go_on])
                connection.receive_data(await reader.read(READ_BYTES))
            elif isinstance(event, h11.Request):
                if {b"content-length", b"transfer-encoding"} <= {name for name, _ in event.headers}:
                    raise h11.RemoteProtocolError("the request has two lengths", error_status_hint=400)
                found = event
            elif isinstance(event, h11.Data):
                body_bytes += len(event.data)
                if body_bytes > MOST_BODY_BYTES:
                    raise h11.RemoteProtocolError("the request's body is too long", error_status_hint=413)
            elif isinstance(event, h11.EndOfMessage):
                assert found is not None  # h11 gives a request before its end
                return found
            else:
                raise _Ended


async def _respond(connection: h11.Connection, writer: Writer, request: h11.Request | None, response: Response) -> None:
    length = response.length or len(response.body)
    headers = [("Server", SERVER), ("Content-Length", str(length)), *response.headers]
    head = h11.Response(status_code=response.status.value, reason=response.status.phrase, headers=headers)
    is_head = request is not None and request.method == b"HEAD"
    events: list[h11.Event] = [head]  # a head goes with what follows it: one segment, one call, one wake-up
    if response.file is None:
        if response.body and not is_head:
            events.append(h11.Data(data=response.body))
    else:
        with closing(response.file) as file:
            left = 0 if is_head else response.length
            while left:
                piece = file.read(min(left, READ_BYTES))
                if not piece:  # the file has become shorter: the client sees that it got too little
                    await _send(connection, writer, events)
                    raise _Ended
                left -= len(piece)
                events.append(h11.Data(data=piece))
                if left:
                    await _send(connection, writer, events)
                    await asyncio.sleep(0)  # a client that takes all at once would keep the others waiting
                    events = []
    await _send(connection, writer, [*events, h11.EndOfMessage()])


async def _send(connection: h11.Connection, writer: Writer, events: list[h11.Event]) -> None:
    data = b"".join([connection.send(event) or b"" for event in events])
    if data:
        writer.write(data)
        async with asyncio.timeout(PATIENCE_SECONDS):
            await writer.drain()
