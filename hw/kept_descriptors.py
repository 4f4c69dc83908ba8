"""The monitor's half of descriptors that outlive a helper: copies of what it would lose with its life.

A message over a SOCK_SEQPACKET socket is a number, with a descriptor: to be kept by that number, in place of what was;
without one: to be closed. A helper's next life inherits all of them (`--kept NUMBER:DESCRIPTOR,…`). It uses no number
for two things, ever: what it says last before its death may never come here, and then a number is still that of what
has ended. The helper's half is hw/devices/user_network/kept_sockets.py.
"""

from __future__ import annotations

import os
import socket
import struct
from typing import Final

NUMBER: Final = struct.Struct("=Q")
MOST_KEPT: Final = 1024  # at once
_MESSAGES_A_TURN: Final = 64


def kept_of(text: str) -> dict[int, int]:
    """Descriptors by number, of the argument ``--kept``."""
    pairs = (each.split(":") for each in text.split(",") if each)
    return {int(number): int(descriptor) for number, descriptor in pairs}


class KeptDescriptors:
    """Of one helper, over its lives."""

    def __init__(self) -> None:
        self.kept: dict[int, int] = {}
        self._end: socket.socket | None = None

    @property
    def end(self) -> int:
        """Readable: `take` is to be called. -1: there is no life, or it says no more."""
        return -1 if self._end is None else self._end.fileno()

    def begin(self) -> socket.socket:
        """A life's end of the way here. The caller closes it once that life has inherited it."""
        assert self._end is None
        self._end, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._end.setblocking(False)
        return theirs

    def take(self) -> None:
        """Some messages of the helper's."""
        for _ in range(_MESSAGES_A_TURN):
            if not self._take_one():
                return

    def ended(self) -> None:
        """The helper has ended: take what it still had said."""
        while self._take_one():
            continue
        self._hang_up()

    def close(self) -> None:
        self._hang_up()
        for descriptor in self.kept.values():
            os.close(descriptor)
        self.kept.clear()

    def _take_one(self) -> bool:
        if self._end is None:
            return False
        try:
            data, descriptors, _, _ = socket.recv_fds(self._end, NUMBER.size, 1, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return False
        except OSError:
            data, descriptors = b"", []
        if len(data) == NUMBER.size:
            (number,) = NUMBER.unpack(data)
            if (former := self.kept.pop(number, None)) is not None:
                os.close(former)
            if descriptors and len(self.kept) < MOST_KEPT:
                self.kept[number] = descriptors.pop()
        for descriptor in descriptors:
            os.close(descriptor)
        if not data:
            self._hang_up()
        return bool(data)

    def _hang_up(self) -> None:
        if self._end is not None:
            self._end.close()
            self._end = None
