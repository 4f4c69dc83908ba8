"""pyzmq: REQ and REP over ipc://."""

from __future__ import annotations

import os

import zmq

from bench.ipc.stand import Calls, fork


class RequestReply:
    """Bytes there and back; ``copy=True``, the default, is the faster for so few."""

    def __init__(self) -> None:
        address = f"ipc://@sel4py-bench-{os.getpid()}"  # abstract: no file stays behind
        self.server = fork(lambda: self._serve(address))
        self._socket = zmq.Context().socket(zmq.REQ)
        self._socket.connect(address)

    @staticmethod
    def _serve(address: str) -> None:
        socket = zmq.Context().socket(zmq.REP)
        socket.bind(address)
        while True:
            socket.send(socket.recv())

    def calls(self, size: int) -> Calls:
        send, receive, data = self._socket.send, self._socket.recv, bytes(size)

        def calls(count: int) -> None:
            for _ in range(count):
                send(data)
                receive()

        return calls
