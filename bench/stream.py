"""How a stream is timed, the same for every kind of socket: its length first, then its bytes, then one byte back.

The last piece is sent at once (TCP_NODELAY), so that nobody waits for the acknowledgement of what came before it.
The clock runs from before the first byte to when the sender holds the answer, so all that was sent has arrived.
"""

from __future__ import annotations

import socket
import time
from typing import Protocol

PORT = 7000
PIECE_BYTES = 256 << 10  # of a call of the program that sends, and of the one that receives
HEAD_BYTES = 8
DONE = b"."


class Stream(Protocol):
    """A socket as Python's."""

    def sendall(self, data: bytes | memoryview, /) -> None: ...
    def recv_into(self, buffer: memoryview, nbytes: int = 0, /) -> int: ...
    def setsockopt(self, level: int, option: int, value: int, /) -> None: ...


def give(sock: Stream, piece: bytes, total: int) -> float:
    """Send ``total`` bytes, made of pieces; returns the seconds until the other side has had all. Raises EOFError."""
    start = time.perf_counter()
    sock.sendall(total.to_bytes(HEAD_BYTES, "little"))
    last = (total - 1) // len(piece) * len(piece)
    for _ in range(0, last, len(piece)):
        sock.sendall(piece)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.sendall(memoryview(piece)[: total - last])
    if not sock.recv_into(memoryview(bytearray(1))):
        raise EOFError("the other side has ended")
    seconds = time.perf_counter() - start
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0)
    return seconds


def take(sock: Stream) -> None:
    """Take stream after stream, until the connection ends."""
    memory = memoryview(bytearray(PIECE_BYTES))
    while (left := _head(sock, memory)) is not None:
        while left:
            count = sock.recv_into(memory[: min(left, PIECE_BYTES)])
            if not count:
                return
            left -= count
        sock.sendall(DONE)


def _head(sock: Stream, memory: memoryview) -> int | None:
    """A stream's length; None: the connection has ended."""
    have = 0
    while have < HEAD_BYTES:
        count = sock.recv_into(memory[have:HEAD_BYTES])
        if not count:
            return None
        have += count
    return int.from_bytes(memory[:HEAD_BYTES], "little")
