"""What a Python program could use instead: ``python -m bench.memory.peers NAME``.

It starts the other side as a process of its own, prints the pids of both, and answers each line of standard input with
the seconds that it took:

    bulk BUFFERS BYTES PIECES     pieces of so many bytes to the other side, one way, until it has had the last
    echo BYTES COUNT              so many bytes to the other side and back; seconds of one round trip
"""

from __future__ import annotations

import multiprocessing
import os
import socket
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.shared_memory import SharedMemory
from typing import NoReturn

from bench.ipc.stand import die_with_parent, end, fork

MOST_BYTES = 64 << 20  # of the shared memory
NUMBER_BYTES = 4
DONE = b"done"


def _source(size: int) -> bytes:
    return bytes(range(256)) * (size // 256)


class SharedMemoryPeer:
    """multiprocessing.shared_memory, and a Pipe to say which buffer is full, and which is free again."""

    def __init__(self) -> None:
        self._memory = SharedMemory(create=True, size=MOST_BYTES)
        self._ours, self._theirs = multiprocessing.Pipe()
        self.server = fork(self._serve)

    def _serve(self) -> None:
        connection, view = self._theirs, self._memory.buf
        assert view is not None
        while True:
            size, pieces = connection.recv()
            for _ in range(pieces):
                number = connection.recv_bytes()
                first = int.from_bytes(number, "little") * size
                view[first] + view[first + size - 1]
                connection.send_bytes(number)

    def bulk(self, buffers: int, size: int, pieces: int) -> float:
        connection, view, source = self._ours, self._memory.buf, _source(size)
        assert view is not None
        start = time.perf_counter()
        connection.send((size, pieces))
        free = [number.to_bytes(NUMBER_BYTES, "little") for number in range(buffers)]
        for _ in range(pieces):
            number = free.pop() if free else connection.recv_bytes()
            first = int.from_bytes(number, "little") * size
            view[first : first + size] = source
            connection.send_bytes(number)
        for _ in range(min(buffers, pieces)):
            connection.recv_bytes()
        return time.perf_counter() - start

    def echo(self, size: int, count: int) -> float:
        raise NotImplementedError

    def close(self) -> None:
        self._memory.close()
        self._memory.unlink()


class PipePeer:
    """multiprocessing.Pipe alone: the bytes themselves go through it, into memory that is there already."""

    def __init__(self) -> None:
        self._ours, self._theirs = multiprocessing.Pipe()
        self.server = fork(self._serve)

    def _serve(self) -> None:
        connection: Connection = self._theirs
        while True:
            size, pieces = connection.recv()
            into = bytearray(size)
            for _ in range(pieces):
                connection.recv_bytes_into(into)
                into[0] + into[-1]
            connection.send_bytes(DONE)

    def bulk(self, buffers: int, size: int, pieces: int) -> float:
        connection, source = self._ours, _source(size)
        start = time.perf_counter()
        connection.send((size, pieces))
        for _ in range(pieces):
            connection.send_bytes(source)
        connection.recv_bytes()
        return time.perf_counter() - start

    def echo(self, size: int, count: int) -> float:
        raise NotImplementedError

    def close(self) -> None:
        self._ours.close()


class SocketPeer:
    """A Unix stream socket: the bytes there and back, into memory that is there already on both sides."""

    def __init__(self) -> None:
        self._ours, self._theirs = socket.socketpair()
        self.server = fork(self._serve)

    def _serve(self) -> None:
        self._ours.close()
        length = bytearray(8)
        while _receive(self._theirs, memoryview(length)):
            into = bytearray(int.from_bytes(length, "little"))
            view = memoryview(into)
            while _receive(self._theirs, view):
                self._theirs.sendall(view)
                if into[0]:  # the last of its length
                    break

    def bulk(self, buffers: int, size: int, pieces: int) -> float:
        raise NotImplementedError

    def echo(self, size: int, count: int) -> float:
        data, back = bytearray(size), bytearray(size)
        view, into = memoryview(data), memoryview(back)
        self._ours.sendall(size.to_bytes(8, "little"))
        start = time.perf_counter()
        for _ in range(count):
            self._ours.sendall(view)
            _receive(self._ours, into)
        seconds = time.perf_counter() - start
        data[0] = 1
        self._ours.sendall(view)
        _receive(self._ours, into)
        return seconds / count

    def close(self) -> None:
        self._ours.close()


def _receive(connection: socket.socket, into: memoryview) -> bool:
    """All bytes of ``into``; False if the other side has closed."""
    done = 0
    while done < len(into):
        count = connection.recv_into(into[done:])
        if not count:
            return False
        done += count
    return True


PEERS: dict[str, Callable[[], SharedMemoryPeer | PipePeer | SocketPeer]] = {
    "shared_memory": SharedMemoryPeer,
    "pipe": PipePeer,
    "socket": SocketPeer,
}


def main(name: str) -> NoReturn:
    die_with_parent(os.getppid())
    peer = PEERS[name]()
    print(os.getpid(), peer.server, flush=True)
    for order in sys.stdin:
        what, *numbers = order.split()
        answer: float = getattr(peer, what)(*map(int, numbers))
        print(f"{answer:.12f}", flush=True)
    end(peer.server)
    peer.close()
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
