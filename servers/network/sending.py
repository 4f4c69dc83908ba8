"""Bytes of a client's buffer on their way into a stream, while the client's call waits.

Rules. They are copied piece by piece, as there is room for them: what waits is kept by the client, and not by the
server. What has been taken is said even where the rest cannot be: the next call hears why.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from libsel4py.errors import ServiceError
from libsel4py.interfaces.network import AGAIN
from servers.network.sockets import NOT_YET, NetSocket

if TYPE_CHECKING:
    from servers.network.protocols import StreamSocket

PART_BYTES: Final = 1 << 16


class Sending:
    """``length`` bytes from ``at`` on in the buffer of the socket's session."""

    def __init__(self, sock: NetSocket, length: int, at: int) -> None:
        self._session = sock.session
        self._stream: StreamSocket = sock.stream
        self._length = length
        self._at = at
        self._sent = 0

    def attempt(self) -> object:
        """Send what there is room for: all of it has been sent, as a number, or `NOT_YET`.

        Raises what keeps it from sending: StaleSocket, InvalidMessage, or the stream's error.
        """
        try:
            return self._attempt()
        except ServiceError:
            if self._sent:
                return self._sent
            raise

    def _attempt(self) -> object:
        while self._sent < self._length:
            part = self._session.get(min(self._length - self._sent, PART_BYTES), self._at + self._sent)
            sent = self._stream.send(part)
            self._sent += sent
            if sent < len(part):
                return NOT_YET
        return self._sent

    def so_far(self) -> int:
        """The answer when there is no more time."""
        return self._sent or AGAIN
