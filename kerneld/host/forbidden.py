"""Host system calls that a task's filter does not let through: the host stops the thread in one, and says which.

Each process hands its filter's listener (seccomp_unotify(2)) to the zygote before its boot image runs, and keeps no
copy. What is read from it comes from the host: a task can neither forge nor prevent it, and the call that it was
stopped in is never done. It gets no answer either: the process is killed.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import struct
from collections.abc import Iterator
from typing import Final

from hw.cpu import host_call_name

_RECEIVE: Final = 0xC0502100  # SECCOMP_IOCTL_NOTIF_RECV; the same on every architecture that we know
_NOTIFICATION: Final = struct.Struct("=QIIiIQ6Q")  # struct seccomp_notif
_NUMBER: Final = struct.Struct("=Q")


def describe(number: int, arguments: tuple[int, ...]) -> str:
    """A host system call for people: name, number, and all six arguments, of which it may have fewer."""
    name = host_call_name(number) or "a host system call without a name here"
    return f"{name} ({number}) with arguments {', '.join(map(hex, arguments))}"


class ForbiddenCalls:
    """The listeners of all processes that run.

    Attributes:
        socket: where new ones arrive. given: its other end, for the processes that are forked.
    """

    def __init__(self) -> None:
        self.socket, self.given = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.setblocking(False)
        self._numbers: dict[int, int] = {}  # kernel's number of the process, by its listener
        self._renamed: dict[int, int] = {}  # the same, by the number that it hands its listener over with, or has

    def __contains__(self, listener: int) -> bool:
        return listener in self._numbers

    def receive(self) -> Iterator[int]:
        """Take the listeners that have arrived. One for which this process has no descriptor left is lost: the host
        answers ENOSYS to what its process tries.
        """
        while True:
            try:
                data, descriptors, _, _ = socket.recv_fds(
                    self.socket, _NUMBER.size, 1, socket.MSG_CMSG_CLOEXEC | socket.MSG_DONTWAIT
                )
            except BlockingIOError:
                return
            for listener in descriptors:
                (number,) = _NUMBER.unpack(data)
                self._numbers[listener] = self._renamed.get(number, number)
                yield listener

    def rename(self, number: int, wanted: int) -> None:
        """The process that hands its listener over by one number, or has done so, is known by another until its end."""
        self._renamed[number] = wanted
        for listener, whose in self._numbers.items():
            if whose == number:
                self._numbers[listener] = wanted

    def tried(self, listener: int) -> tuple[int, str] | None:
        """Who tried what; None if nobody waits in a call any more."""
        buffer = bytearray(_NOTIFICATION.size)
        try:
            fcntl.ioctl(listener, _RECEIVE, buffer)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EINTR):
                return None
            raise
        _, _, _, number, _, _, *arguments = _NOTIFICATION.unpack(buffer)
        return self._numbers[listener], describe(number, tuple(arguments))

    def forget(self, number: int) -> Iterator[int]:
        """The process has ended: close its listener, which is yielded before."""
        self._renamed = {handed: whose for handed, whose in self._renamed.items() if whose != number}
        for listener in [each for each, whose in self._numbers.items() if whose == number]:
            yield listener
            self.close(listener)

    def close(self, listener: int) -> None:
        """Nobody has its filter any more."""
        del self._numbers[listener]
        with contextlib.suppress(OSError):
            os.close(listener)
