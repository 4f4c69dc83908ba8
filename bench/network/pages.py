"""A page fetched again and again over connections that are kept: from our web server, and from the same on the host."""

from __future__ import annotations

import asyncio
import io
import re
import select
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from apps.httpd import connection
from apps.httpd.content import answer
from bench.booted import SYSTEMS, BootedSystem
from bench.ipc.stand import end, fork
from bench.network.nodes import ROOT
from libsel4py.interfaces.file import Kind, Stat

NAME, PAGE_BYTES = "page", 1024
REQUEST = f"GET /{NAME} HTTP/1.1\r\nHost: bench\r\n\r\n".encode()
PATIENCE_SECONDS = 20.0
MOST_BYTES = 1 << 16


class System:
    """A system that shows a page at a port of the host. A context manager. ``port``: of the host."""

    def __init__(self, folder: Path) -> None:
        path = folder / "pages.toml"
        text = (SYSTEMS / "pages.toml").read_text()
        path.write_text(f'[system]\nname = "pages"\npaths = ["{ROOT}"]\n\n{text}')
        self._system = BootedSystem(path, "pages", folder)
        try:
            self._system.order(f"page {NAME} {PAGE_BYTES}")
            found = re.search(r"127\.0\.0\.1:(\d+)", str(self._system.devices()))
            assert found is not None  # the description forwards one
            self.port = int(found[1])
            _wait_until_served(self.port)
        except BaseException:
            self._system.__exit__(None, None, None)
            raise

    def __enter__(self) -> System:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._system.__exit__(kind, error, trace)


class OnHost:
    """The web server's own code on asyncio's sockets, in one process, with the page in memory. A context manager."""

    def __init__(self) -> None:
        # With its protocol named: only then does asyncio send small pieces at once, as it does on sockets of its own.
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        self.port = int(listener.getsockname()[1])
        self._server = fork(lambda: asyncio.run(_serve(listener)))
        listener.close()

    def __enter__(self) -> OnHost:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        end(self._server)


class _Page:
    """A tree with one file."""

    def stat(self, path: str) -> Stat:
        return Stat(Kind.FILE, PAGE_BYTES)

    def names(self, path: str) -> list[str]:
        return [NAME]

    def open(self, path: str) -> BinaryIO:
        return io.BytesIO(bytes(PAGE_BYTES))


async def _serve(listener: socket.socket) -> None:
    page = _Page()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, TimeoutError):
            await connection.serve(reader, writer, lambda *request: answer(page, *request))
        writer.close()

    async with await asyncio.start_server(connected, sock=listener) as server:
        await server.serve_forever()


class Fetcher:
    """So many connections, each with one request under way. Each turn has its own, since a server parts from idle ones.

    Attributes: ``latencies``: seconds from each request to the last byte of its response, of all turns.
    """

    def __init__(self, port: int, connections: int) -> None:
        self.latencies: list[float] = []
        self._port = port
        self._connections = connections

    def turn(self, requests: int) -> Callable[[], float]:
        """Fetches so often, and returns the seconds of one request. Raises TimeoutError, EOFError, ConnectionError."""
        return lambda: self._timed(requests)

    def _timed(self, requests: int) -> float:
        with ExitStack() as stack:
            by_number: dict[int, socket.socket] = {}
            poll = stack.enter_context(select.epoll())
            length = 0
            for _ in range(self._connections):
                sock = socket.create_connection(("127.0.0.1", self._port), PATIENCE_SECONDS)
                stack.enter_context(sock)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                length = _length(sock)  # its first request is not counted: it waits for the connection as well
                poll.register(sock, select.EPOLLIN)
                by_number[sock.fileno()] = sock
            return self._fetch(requests, poll, by_number, length)

    def _fetch(self, requests: int, poll: select.epoll, by_number: dict[int, socket.socket], length: int) -> float:
        clock = time.perf_counter
        begun: dict[int, float] = {}
        have = dict.fromkeys(by_number, 0)
        start = clock()
        left = requests
        for number, sock in list(by_number.items())[:requests]:
            begun[number] = clock()
            sock.sendall(REQUEST)
            left -= 1
        while begun:
            ready = poll.poll(PATIENCE_SECONDS)
            if not ready:
                raise TimeoutError("the web server does not answer")
            for number, _ in ready:
                sock = by_number[number]
                count = len(sock.recv(MOST_BYTES))
                if not count:
                    raise EOFError("the web server has ended a connection")
                have[number] += count
                if have[number] < length:
                    continue
                have[number] = 0
                now = clock()
                self.latencies.append(now - begun.pop(number))
                if left:
                    left -= 1
                    begun[number] = now
                    sock.sendall(REQUEST)
        return (clock() - start) / requests


def _wait_until_served(port: int) -> None:
    """Return when the web server listens; until then its system breaks connections off. Raises OSError, EOFError."""
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS) as sock:
                _length(sock)
            return
        except (ConnectionError, EOFError):
            if time.monotonic() > end:
                raise


def _length(sock: socket.socket) -> int:
    """Bytes of a response, all of which are alike: its head says how many its page has."""
    sock.sendall(REQUEST)
    data = b""
    while True:
        part = sock.recv(MOST_BYTES)
        if not part:
            raise EOFError("the web server has ended a connection")
        data += part
        head, mark, body = data.partition(b"\r\n\r\n")
        if mark and len(body) == PAGE_BYTES:
            if not head.startswith(b"HTTP/1.1 200 "):
                raise ValueError(f"the web server answers {head!r}")
            return len(data)
