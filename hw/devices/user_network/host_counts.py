"""What the host's kernel has counted at a TCP socket: how much was written to it and read from it, by whomever.

So a process that takes over a socket from one that was killed at any instruction knows what that one has done.
Source: Linux, include/uapi/linux/tcp.h (tcp_info), net/ipv4/tcp.c (tcp_ioctl). A FIN counts as one byte of its
direction, and so may a SYN: whoever asks compares with what was counted when the connection began.
"""

from __future__ import annotations

import fcntl
import socket
import struct
from typing import Final, NamedTuple

_INFO_BYTES: Final = 136
_COUNTS: Final = struct.Struct("=B119xQQ")  # state, bytes acknowledged, bytes received
_SIOCINQ, _SIOCOUTQ = 0x541B, 0x5411
_FIN_WAIT1, _FIN_WAIT2, _TIME_WAIT, _CLOSE, _CLOSE_WAIT, _LAST_ACK, _CLOSING = 4, 5, 6, 7, 8, 9, 11
_WE_ENDED: Final = frozenset({_FIN_WAIT1, _FIN_WAIT2, _TIME_WAIT, _CLOSE, _LAST_ACK, _CLOSING})
_THEY_ENDED: Final = frozenset({_TIME_WAIT, _CLOSE, _CLOSE_WAIT, _LAST_ACK, _CLOSING})


class HostCounts(NamedTuple):
    """``written``: bytes, and what a SYN may count. ``read``: bytes. ``is_closed``: both sides have ended, or it was
    reset. A socket that was reset counts wrongly."""

    written: int
    read: int
    is_closed: bool


def urgent_in_line(host: socket.socket) -> None:
    """Before its first data comes: an urgent byte is read like any other. Else it is counted, and read by nobody."""
    host.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)


def host_counts(host: socket.socket) -> HostCounts:
    """Of a socket that was connected once, and is `urgent_in_line`. Bytes alone: an end that either side has told is
    taken off."""
    before = None
    while True:  # both queues may move between two looks
        info = _COUNTS.unpack(host.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_BYTES))
        if info == before:
            break
        before = info
        unread, unacknowledged = _queued(host, _SIOCINQ), _queued(host, _SIOCOUTQ)
    state, acknowledged, received = info
    written = acknowledged + unacknowledged - (state in _WE_ENDED)
    return HostCounts(written, received - unread - (state in _THEY_ENDED), state == _CLOSE)


def _queued(host: socket.socket, request: int) -> int:
    return int.from_bytes(fcntl.ioctl(host, request, bytes(4)), "little", signed=True)
