"""The kernel's end of its connection to the zygote: asks for processes, hears of their ends.

Protocol: docs/architecture.md, section 6. The zygote is trusted, but its messages are checked all the same: it forks
what is not. It knows a process by the number that it was asked for with, and remembers one that has ended until it is
told to `forget` it. So a kernel that is started again asks what there is (`census`), and misses no end.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import msgpack

MESSAGE_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class StartRequest:
    """A process to start. `maps`: (address, bytes, rights) and a descriptor each. `memory` in bytes.

    `number`: that no process of this machine ever had. The descriptors stay the caller's.
    """

    number: int
    image: str
    image_number: int
    name: str
    arguments: tuple[int, ...]
    memory: int
    frame_fd: int
    doorbell_fd: int
    control_fd: int
    maps: tuple[tuple[int, int, int], ...] = ()
    map_fds: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Census:
    """What the zygote has, by the numbers that it was asked with.

    Attributes:
        running: pid and pidfd of those that are not reaped; the receiver owns the descriptors. ended: wait status of
        those that are, and that nobody has told it to forget.
    """

    running: dict[int, tuple[int, int]]
    ended: dict[int, int]


Started = Callable[[int, int], None]  # (pid, pidfd): the receiver owns the descriptor
Failed = Callable[[str], None]


class ZygoteLink:
    """Requests are sent in order, without waiting; each process's end is told by
    `exited(number, wait status, tried)`; tried: the forbidden host system call that it was killed for, in words, or "".
    """

    def __init__(
        self,
        channel: socket.socket,
        loop: asyncio.AbstractEventLoop,
        exited: Callable[[int, int, str], None],
        lost: Callable[[], None],
    ) -> None:
        self._channel = channel
        self._loop = loop
        self._exited = exited
        self._lost = lost
        self._waiting: dict[int, tuple[Started, Failed]] = {}
        self._backlog: deque[tuple[bytes, list[int]]] = deque()
        self._tried: dict[int, str] = {}  # of those that are killed for it, until their end is told
        channel.setblocking(False)
        loop.add_reader(channel.fileno(), self._readable)

    @property
    def asked(self) -> int:
        """Starts that are not answered yet."""
        return len(self._waiting)

    def start(self, request: StartRequest, started: Started, failed: Failed) -> None:
        """Ask for a process. One of the two is called, once, later.

        Raises:
            OSError: it cannot be asked for; neither is called then.
        """
        number = request.number
        self._waiting[number] = (started, failed)
        message = {
            "op": "start",
            "id": number,
            "image": request.image,
            "image_number": request.image_number,
            "name": request.name,
            "arguments": request.arguments,
            "memory": request.memory,
            "maps": request.maps,
        }
        descriptors = [request.frame_fd, request.doorbell_fd, request.control_fd, *request.map_fds]
        try:
            self._send(msgpack.packb(message), descriptors)
        except OSError:
            del self._waiting[number]
            raise

    def tried(self, number: int) -> str:
        """The forbidden host system call that an ending process is killed for; the zygote says it before it kills."""
        self._readable()
        return self._tried.get(number, "")

    def forget(self, number: int) -> None:
        """What the end of this process meant is done."""
        self._send(msgpack.packb({"op": "forget", "id": number}), [])

    def ask_census(self) -> int:
        """Ask what there is. Returns what `census` is to be given, before anything else is asked or the loop goes on.

        Raises ConnectionError if the zygote has ended.
        """
        asked = time.monotonic_ns()
        self._channel.setblocking(True)
        self._channel.send(msgpack.packb({"op": "census", "id": asked}))
        return asked

    def census(self, asked: int) -> Census:
        """What there is, after all that was ever asked; what was on its way until then is thrown away. Waits for it.

        Raises ConnectionError if the zygote has ended.
        """
        found = Census({}, {})
        while True:
            data, descriptors, _, _ = socket.recv_fds(self._channel, MESSAGE_BYTES, 1, socket.MSG_CMSG_CLOEXEC)
            if not data:
                raise ConnectionResetError("the zygote has ended")
            match msgpack.unpackb(data):
                case {"op": "census", "id": number} if number == asked:
                    self._channel.setblocking(False)
                    return found
                case {"op": "running", "census": number, "id": int(each), "pid": int(pid)} if number == asked:
                    found.running[each] = (pid, descriptors[0])
                case {"op": "ended", "census": number, "id": int(each), "status": int(status)} if number == asked:
                    found.ended[each] = status
                case _:
                    _close_all(descriptors)

    def close(self) -> None:
        """The zygote ends, and all its processes with it."""
        if self._channel.fileno() < 0:
            return
        self._loop.remove_reader(self._channel.fileno())
        self._loop.remove_writer(self._channel.fileno())
        for _, descriptors in self._backlog:
            _close_all(descriptors)
        self._backlog.clear()
        self._channel.close()

    def _send(self, data: bytes, descriptors: Sequence[int]) -> None:
        if self._backlog or not self._try_send(data, descriptors):
            waiting = _dup_all(descriptors)
            if not self._backlog:
                self._loop.add_writer(self._channel.fileno(), self._flush)
            self._backlog.append((data, waiting))

    def _try_send(self, data: bytes, descriptors: Sequence[int]) -> bool:
        try:
            socket.send_fds(self._channel, [data], descriptors)
        except BlockingIOError:
            return False
        except (BrokenPipeError, ConnectionResetError):
            return True  # the reader's end of file says so
        except OSError as error:
            if error.errno != errno.ETOOMANYREFS:  # until the zygote has taken some of those on their way
                raise
            return False
        return True

    def _flush(self) -> None:
        while self._backlog and self._try_send(*self._backlog[0]):
            _close_all(self._backlog.popleft()[1])
        if not self._backlog:
            self._loop.remove_writer(self._channel.fileno())

    def _readable(self) -> None:
        while True:
            try:
                data, descriptors, _, _ = socket.recv_fds(self._channel, MESSAGE_BYTES, 1, socket.MSG_CMSG_CLOEXEC)
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionResetError:
                data, descriptors = b"", []
            if not data:
                self._loop.remove_reader(self._channel.fileno())
                self._lost()
                return
            self._take(msgpack.unpackb(data), descriptors)

    def _take(self, message: dict[str, object], descriptors: list[int]) -> None:
        match message:
            case {"op": "started", "id": int(number), "pid": int(pid)} if len(descriptors) == 1:
                started, _ = self._waiting.pop(number)
                started(pid, descriptors[0])
            case {"op": "failed", "id": int(number), "error": str(error)}:
                _, failed = self._waiting.pop(number)
                failed(error)
            case {"op": "tried", "id": int(number), "tried": str(tried)}:
                self._tried[number] = tried
            case {"op": "exited", "id": int(number), "status": int(status), "tried": str(tried)}:
                self._tried.pop(number, None)
                self._exited(number, status, tried)
            case _:
                _close_all(descriptors)
                raise ValueError(f"the zygote says {message!r}, which is no message of its protocol")


def _dup_all(descriptors: Sequence[int]) -> list[int]:
    """Raises OSError; none is open then."""
    made: list[int] = []
    try:
        for each in descriptors:
            made.append(os.dup(each))
    except OSError:
        _close_all(made)
        raise
    return made


def _close_all(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
