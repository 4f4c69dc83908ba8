"""Files over sockets of the network server, as `socket.makefile` gives them."""

from __future__ import annotations

import io
from typing import IO, TYPE_CHECKING, Any

from libsel4py.lowlevel.collecting import is_collecting

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from libsel4py.net_socket import NetSocket


def open_file(
    sock: NetSocket, mode: str, buffering: int | None, encoding: str | None, errors: str | None, newline: str | None
) -> IO[Any]:
    """What `NetSocket.makefile` returns. Raises ValueError: unbuffered text."""
    reads, writes = "r" in mode or not {"w"} & set(mode), "w" in mode
    raw = SocketFile(sock, reads, writes)
    if buffering == 0:
        if "b" not in mode:
            raise ValueError("unbuffered streams must be binary")
        return raw  # type: ignore[return-value]  # as `socket.makefile` does
    size = io.DEFAULT_BUFFER_SIZE if buffering is None or buffering < 0 else buffering
    buffered: Any
    if reads and writes:
        buffered = io.BufferedRWPair(raw, raw, size)
    else:
        buffered = io.BufferedReader(raw, size) if reads else io.BufferedWriter(raw, size)
    return buffered if "b" in mode else io.TextIOWrapper(buffered, encoding, errors, newline)


class SocketFile(io.RawIOBase):
    """A socket as a raw file."""

    def __init__(self, sock: NetSocket, reads: bool, writes: bool) -> None:
        super().__init__()
        self._sock = sock
        self._reads = reads
        self._writes = writes
        sock.file_opened()

    def readable(self) -> bool:
        return self._reads

    def writable(self) -> bool:
        return self._writes

    def readinto(self, buffer: Buffer) -> int | None:
        try:
            return self._sock.recv_into(buffer)
        except BlockingIOError:
            return None

    def write(self, data: Buffer) -> int | None:
        if is_collecting():  # a buffered file was forgotten with bytes in it
            kept = bytes(data)
            self._sock.send_later(kept)
            return len(kept)
        try:
            return self._sock.send(data)
        except BlockingIOError:
            return None

    def fileno(self) -> int:
        raise io.UnsupportedOperation("a socket of the network server has no descriptor")

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._sock.file_closed()
