"""Contenders from the standard library: a null system call, pipes, `multiprocessing`."""

from __future__ import annotations

import multiprocessing
import os

from bench.ipc.stand import Calls, fork

WORDS = (1, 2, 3, 4)
LARGEST = 4096


class NullSystemCall:
    """`os.getppid()`: into the kernel and out again, and nobody else is involved."""

    server = 0

    def calls(self, size: int) -> Calls:
        getppid = os.getppid

        def calls(count: int) -> None:
            for _ in range(count):
                getppid()

        return calls


class OsPipe:
    """Two pipes; what is sent is bytes that are packed already, so that the pipe is all that is measured."""

    def __init__(self) -> None:
        theirs, self._write = os.pipe()
        self._read, ours = os.pipe()
        self.server = fork(lambda: self._serve(theirs, ours))

    @staticmethod
    def _serve(source: int, destination: int) -> None:
        read, write = os.read, os.write
        while True:
            write(destination, read(source, LARGEST))

    def calls(self, size: int) -> Calls:
        read, write, source, destination = os.read, os.write, self._read, self._write
        data = bytes(max(size, 1))  # a pipe has no empty messages

        def calls(count: int) -> None:
            for _ in range(count):
                write(destination, data)
                read(source, LARGEST)

        return calls


class Pipe:
    """`multiprocessing.Pipe`: four numbers as a tuple, as one would; other sizes as bytes."""

    def __init__(self) -> None:
        self._connection, theirs = multiprocessing.Pipe()
        self.server = fork(lambda: self._serve(theirs))

    @staticmethod
    def _serve(connection: multiprocessing.connection.Connection) -> None:
        send, receive = connection.send, connection.recv
        while (message := receive()) != "bytes":
            send(message)
        while True:
            connection.send_bytes(connection.recv_bytes())

    def calls(self, size: int) -> Calls:
        return self._rounds(WORDS)

    def objects(self, given: object) -> Calls:
        return self._rounds(given)

    def _rounds(self, message: object) -> Calls:
        send, receive = self._connection.send, self._connection.recv

        def calls(count: int) -> None:
            for _ in range(count):
                send(message)
                receive()

        return calls


class PipeBytes(Pipe):
    """The same with bytes that are packed already: nothing is pickled."""

    def __init__(self) -> None:
        super().__init__()
        self._connection.send("bytes")

    def calls(self, size: int) -> Calls:
        send, receive, data = self._connection.send_bytes, self._connection.recv_bytes, bytes(size)

        def calls(count: int) -> None:
            for _ in range(count):
                send(data)
                receive()

        return calls


class Queue:
    """Two `multiprocessing.Queue`: four numbers as a tuple; other sizes as bytes."""

    def __init__(self) -> None:
        self._there: multiprocessing.Queue[object] = multiprocessing.Queue()
        self._back: multiprocessing.Queue[object] = multiprocessing.Queue()
        self.server = fork(self._serve)

    def _serve(self) -> None:
        get, put = self._there.get, self._back.put
        while True:
            put(get())

    def calls(self, size: int) -> Calls:
        put, get = self._there.put, self._back.get
        message = WORDS if size == len(WORDS) * 8 else bytes(size)

        def calls(count: int) -> None:
            for _ in range(count):
                put(message)
                get()

        return calls
