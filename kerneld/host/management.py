"""The management socket and the events: ZeroMQ in the runtime folder, msgpack, one request one reply
(docs/architecture.md, section 8).

Who can open the sockets is decided by the folder's mode (0700). A request is hostile all the same: what is no request
is answered with an error, what is too long is dropped by the socket, and nothing in one can make the kernel wait.
Requests that come without pause leave the tasks half of the kernel's time: behind each one the kernel does all else for
as long as that took, a quarter of a second at most.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgpack
import zmq
import zmq.asyncio

from kerneld.host.injection import inject
from kerneld.host.operations import OPERATIONS, Refused
from kerneld.host.suspension import suspend

if TYPE_CHECKING:
    from kerneld.host.system import System

REQUEST_BYTES: Final = 1 << 16
ALL_OPERATIONS: Final = OPERATIONS | {"inject": inject, "suspend": suspend}
MOST_PAUSE_SECONDS: Final = 0.25  # whoever asks waits ten seconds
EVENTS_KEPT: Final = 1000  # a listener that is this far behind misses events


class Management:
    """Answers requests about one system."""

    def __init__(self, system: System, folder: Path) -> None:
        self._system = system
        self._folder = folder
        self._context: zmq.asyncio.Context | None = None
        self._events: zmq.Socket[bytes] | None = None
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Bind both sockets. Raises OSError if the folder's path is too long for a socket's address."""
        self._context = zmq.asyncio.Context()
        requests = self._context.socket(zmq.ROUTER)
        requests.set(zmq.LINGER, 0)
        requests.set(zmq.MAXMSGSIZE, REQUEST_BYTES)
        requests.bind(f"ipc://{self._folder / 'management'}")
        # Publishing is never waited for, so a plain socket does; it shares the context and its thread.
        events: zmq.Socket[bytes] = zmq.Socket(zmq.Context.shadow(self._context.underlying), zmq.PUB)
        events.set(zmq.LINGER, 100)
        events.set(zmq.SNDHWM, EVENTS_KEPT)
        events.bind(f"ipc://{self._folder / 'events'}")
        self._events = events
        self._task = asyncio.get_running_loop().create_task(self._serve(requests))
        self._task.add_done_callback(self._ended)

    def publish(self, event: Mapping[str, object]) -> None:
        """Tell all who listen; nobody waits, and nobody who is behind is waited for."""
        if self._events is not None:
            with contextlib.suppress(zmq.Again):
                self._events.send(msgpack.packb(event, default=str), zmq.NOBLOCK)

    def close(self) -> None:
        """Close both; the answer to the request that ended the system is on its way still."""
        if self._task is not None:
            self._task.cancel()
        # Not the asyncio context's own socket, which the context would wait for.
        if self._events is not None:
            self._events.close()
        if self._context is not None:
            self._context.destroy(linger=200)
        self._context = self._events = self._task = None
        for name in ("management", "events"):
            (self._folder / name).unlink(missing_ok=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error  # to the loop's exception handler, which ends the kernel

    async def _serve(self, requests: zmq.asyncio.Socket) -> None:
        while True:
            frames = await requests.recv_multipart()
            began = time.monotonic()
            answer = self._answer(frames[-1])
            took = time.monotonic() - began
            # A REQ socket sends an empty frame behind its address, and expects it back.
            with contextlib.suppress(zmq.Again, zmq.ZMQError):
                await requests.send_multipart([*frames[:-1], answer], zmq.NOBLOCK)
            # With a request that is there already, receiving never lets the event loop go on.
            await asyncio.sleep(min(took, MOST_PAUSE_SECONDS))

    def _answer(self, data: bytes) -> bytes:
        try:
            result = self._carry_out(data)
            reply: dict[str, object] = {"ok": True, "result": result}
        except Refused as refusal:
            reply = {"ok": False, "error": str(refusal)}
        return bytes(msgpack.packb(reply, default=str))

    def _carry_out(self, data: bytes) -> object:
        try:
            request = msgpack.unpackb(data, strict_map_key=True)
        except (ValueError, RecursionError, msgpack.exceptions.UnpackException) as error:
            raise Refused(f"the request is not msgpack: {error}") from error
        if not isinstance(request, dict) or not isinstance(request.get("op"), str):
            raise Refused('a request is a map with "op" and that operation\'s arguments')
        operation = ALL_OPERATIONS.get(request["op"])
        if operation is None:
            raise Refused(f"there is no operation {request['op']!r}; there are {', '.join(ALL_OPERATIONS)}")
        try:
            return operation(self._system, request)
        except Refused:
            raise
        except Exception as error:
            # An operation only looks: its bug must not end a system that runs. It is told to both sides.
            traceback.print_exc()
            raise Refused(
                f"{request['op']} failed by a bug of the kernel's: {error!r}; see logs/kerneld.log"
            ) from error
