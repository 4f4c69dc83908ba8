"""The host's own TCP between two processes, by its loopback interface: what a program on Linux has instead."""

from __future__ import annotations

import socket
from collections.abc import Callable
from types import TracebackType

from bench.ipc.stand import end, fork
from bench.stream import PIECE_BYTES, give, take


class Loopback:
    """A connection to a process that takes streams. A context manager."""

    def __init__(self) -> None:
        self._piece = bytes(range(256)) * (PIECE_BYTES // 256)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self._server = fork(lambda: take(listener.accept()[0]))
            self._sock = socket.create_connection(listener.getsockname())

    def turn(self, total: int) -> Callable[[], float]:
        return lambda: give(self._sock, self._piece, total)

    def __enter__(self) -> Loopback:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sock.close()
        end(self._server)
