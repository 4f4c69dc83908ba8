"""An application and its network stack in one process, with a network switch at the other side of its socket.

    python -m bench.network.stack_process sink|source --parent PID --frames N --mtu MTU

The stack is lwIP as the network server has it. Its frames go by an inherited SOCK_SEQPACKET socket, one each message,
as a system's device gives them to its switch; what the socket does not take waits. The source reads lines of standard
input, a number of bytes each, and answers each with the seconds that a stream of them took (`bench.stream`).
"""

from __future__ import annotations

import argparse
import select
import socket
import sys
import time
from collections import deque
from collections.abc import Callable

from bench.ipc.stand import die_with_parent
from bench.stream import PIECE_BYTES, PORT, give, take
from hw.devices.frame_link import FRAMES_A_TURN, MOST_BYTES
from servers.network.stack import Stack, TcpSocket

ADDRESSES = {"source": "10.4.0.1", "sink": "10.4.0.2"}
WAIT_SECONDS = 10.0


class Wire:
    """A stack whose interface is a socket. Nothing happens in it but in `until`."""

    def __init__(self, end: socket.socket, address: str, mtu: int) -> None:
        end.setblocking(False)
        self.stack = Stack()
        self._end = end
        self._going: deque[bytes] = deque()
        interface = self.stack.add_interface(bytes((2, 0, 0, 0, 4, int(address[-1]))), mtu, self._going.append)
        interface.set_up(True)
        interface.add_address(f"{address}/24")

    def until(self, done: Callable[[], bool], seconds: float | None = None) -> None:
        """Let the stack work until something is so. Raises TimeoutError, and EOFError: the switch has ended."""
        last = None if seconds is None else time.monotonic() + seconds
        while True:
            wait = self.stack.poll()
            self._flush()
            if done():
                return
            if last is not None and time.monotonic() > last:
                raise TimeoutError("the other side does not answer")
            self._await(wait)

    def _await(self, seconds: float | None) -> None:
        """Take what came; wait for it if there is nothing, or for room if frames wait."""
        if self._take():
            return
        writers = [self._end] if self._going else []
        select.select([self._end], writers, [], seconds)
        self._take()

    def _take(self) -> bool:
        for number in range(FRAMES_A_TURN):
            try:
                frame = self._end.recv(MOST_BYTES)
            except BlockingIOError:
                return number > 0
            if not frame:
                raise EOFError("the switch has ended")
            self.stack.input(frame)
        return True

    def _flush(self) -> None:
        while self._going:
            try:
                self._end.send(self._going[0])
            except BlockingIOError:
                return
            self._going.popleft()


class WiredSocket:
    """A `bench.stream.Stream` of such a stack."""

    def __init__(self, wire: Wire, sock: TcpSocket) -> None:
        self._wire = wire
        self._sock = sock

    def sendall(self, data: bytes | memoryview, /) -> None:
        """Give all to the stack, and let it send as far as it can without waiting."""
        left = memoryview(data)
        while left := left[self._sock.send(left) :]:  # type: ignore[arg-type]  # lwIP takes any buffer
            self._wire.until(lambda: self._sock.writable)
        self._wire.until(lambda: True)

    def recv_into(self, buffer: memoryview, nbytes: int = 0, /) -> int:
        """Wait for bytes; 0 at the end."""
        found: list[bytes] = []

        def came() -> bool:
            data = self._sock.recv(nbytes or len(buffer))
            if data is not None:
                found.append(data)
            return data is not None

        self._wire.until(came)
        buffer[: len(found[0])] = found[0]
        return len(found[0])

    def setsockopt(self, level: int, option: int, value: int, /) -> None:
        """TCP_NODELAY, which is all that a stream sets."""
        assert (level, option) == (socket.IPPROTO_TCP, socket.TCP_NODELAY)
        self._sock.set_prompt(bool(value))


def _source(wire: Wire) -> None:
    sock = wire.stack.stream(4)
    sock.connect(ADDRESSES["sink"], PORT)
    wire.until(lambda: sock.writable, WAIT_SECONDS)
    stream, piece = WiredSocket(wire, sock), bytes(range(256)) * (PIECE_BYTES // 256)
    for order in sys.stdin:
        print(give(stream, piece, int(order)), flush=True)


def _sink(wire: Wire) -> None:
    listener = wire.stack.stream(4)
    listener.bind("0.0.0.0", PORT)
    listener.listen(1)
    print("listens", flush=True)
    accepted: list[TcpSocket] = []

    def came() -> bool:
        sock = listener.accept()
        if sock is not None:
            accepted.append(sock)
        return sock is not None

    wire.until(came)
    take(WiredSocket(wire, accepted[0]))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=ADDRESSES)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--frames", type=int, required=True)
    parser.add_argument("--mtu", type=int, required=True)
    arguments = parser.parse_args()
    die_with_parent(arguments.parent)
    wire = Wire(socket.socket(fileno=arguments.frames), ADDRESSES[arguments.role], arguments.mtu)
    if arguments.role == "source":
        _source(wire)
    else:
        _sink(wire)


if __name__ == "__main__":
    main()
