"""The kernel's end of a process's control socket (libsel4py/abi.py, "control socket").

The kernel never waits for a process. Requests are sent at once; an answer that matters has a callback. A process
whose keeper does not take requests any more (its socket is full, or it answers what was not asked) has stopped to
obey, and `disobeyed` is called: what the kernel then does is end it.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Sequence
from typing import Final

from libsel4py import abi
from libsel4py.abi import ControlOp

MESSAGE: Final = struct.Struct("<4I6Q")
assert MESSAGE.size == abi.CONTROL_BYTES

Answer = Callable[[int], None]  # errno, 0 if it worked


class ControlSocket:
    """One process's."""

    def __init__(
        self, channel: socket.socket, loop: asyncio.AbstractEventLoop, disobeyed: Callable[[str], None]
    ) -> None:
        self._channel = channel
        self._loop = loop
        self._disobeyed = disobeyed
        self._sequence = 0
        self._waiting: dict[int, Answer] = {}
        self._closed = False
        channel.setblocking(False)
        loop.add_reader(channel.fileno(), self._readable)

    def thread(
        self, number: int, image: int, arguments: Sequence[int], frame: int, doorbell: int, answer: Answer
    ) -> None:
        """Start a further thread. The descriptors stay the caller's."""
        self._send(ControlOp.THREAD, answer, number, image, arguments, (frame, doorbell))

    def park(self, number: int, answer: Answer) -> None:
        """Stop a thread; the answer's meaning stands beside ControlOp.PARK."""
        self._send(ControlOp.PARK, answer, number)

    def unpark(self, number: int, answer: Answer) -> None:
        """Let a thread go on."""
        self._send(ControlOp.UNPARK, answer, number)

    def channel(self, number: int, words: Sequence[int], page: int, answer: Answer) -> None:
        """Hand a thread a channel's page. The descriptor stays the caller's. Raises OSError if it cannot be sent."""
        self._send(ControlOp.CHANNEL, answer, number, 0, words, (page,))

    def channel_close(self, number: int, channel: int, answer: Answer) -> None:
        """The channel is no more for the thread."""
        self._send(ControlOp.CHANNEL_CLOSE, answer, number, 0, (channel,))

    def receiver_died(self, number: int, channel: int, listener: int, answer: Answer) -> None:
        """The thread is the client of a channel, and that listener will not answer any more."""
        self._send(ControlOp.RECEIVER_DIED, answer, number, 0, (channel, listener))

    def close(self) -> None:
        """Let go of it: if the process still lives, it ends. No answer comes any more."""
        if not self._closed:
            self._closed = True
            self._loop.remove_reader(self._channel.fileno())
            self._channel.close()
            self._waiting.clear()

    def _send(
        self,
        op: ControlOp,
        answer: Answer,
        thread: int,
        image: int = 0,
        words: Sequence[int] = (),
        descriptors: Sequence[int] = (),
    ) -> None:
        if self._closed:
            return
        self._sequence = self._sequence + 1 & 0xFFFFFFFF
        padded = (*words, *(0,) * abi.CONTROL_WORD_COUNT)[: abi.CONTROL_WORD_COUNT]
        data = MESSAGE.pack(op, self._sequence, thread, image, *padded)
        self._waiting[self._sequence] = answer
        try:
            socket.send_fds(self._channel, [data], descriptors)
        except BlockingIOError:
            self._disobeyed("its control socket is full")
        except (BrokenPipeError, ConnectionResetError):
            return  # it is ending; the zygote will say so
        except OSError:
            del self._waiting[self._sequence]
            raise

    def _readable(self) -> None:
        while not self._closed:
            try:
                # Descriptors that a hostile process attaches are closed by the host: no room for them is given.
                data = self._channel.recv(abi.CONTROL_BYTES + 1)
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionResetError:
                data = b""
            if not data:
                self._loop.remove_reader(self._channel.fileno())
                return
            if not self._take(data):
                self._disobeyed("it answered what was not asked")
                return

    def _take(self, data: bytes) -> bool:
        if len(data) != abi.CONTROL_BYTES:
            return False
        op, sequence, _, _, error, *_ = MESSAGE.unpack(data)
        answer = self._waiting.pop(sequence, None)
        if op != ControlOp.DONE or answer is None:
            return False
        answer(error)
        return True
