"""The kernel's end of a process's control socket (libsel4py/abi.py, "control socket").

The kernel never waits for a process. Requests are sent at once; an answer that matters has a callback. Those that are
quiet are answered only where they fail: the answer to a later MAP or UNMAP says that they have worked. A process
whose keeper does not take requests any more (a socket is full, it answers what was not asked, or does not answer
within `ANSWER_S` in which it may run) has stopped to obey, and `disobeyed` is called: what the kernel then
does is end it.

A keeper answers within microseconds, or, where a thread does not park, within a tenth of a second (hw/_cpu/park.c); the
rest of the time is for a host with a thousand other things to run.

A socket may be one that a kernel before this one has used (`lives`): answers to what that one asked come still, and are
nothing to this one. Requests have the kernel's number in the highest byte of their own.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Final

from kerneld.host.descriptors import is_spare
from libsel4py import abi
from libsel4py.abi import ControlOp, MapFlags

MESSAGE: Final = struct.Struct("<4I6Q")
assert MESSAGE.size == abi.CONTROL_BYTES

MAP_OVER: Final = int(MapFlags.REPLACE)
MAP_QUIETLY: Final = int(MapFlags.REPLACE | MapFlags.QUIET)
ANSWER_S: Final = 5.0
NUMBER_BITS: Final = 24
# Words of what the fast path needs to send mappings by itself (_fastpath/hand.c). Behind them stand two of each of the
# process's threads: its trap frame's and its TCB's address.
ROOM, SOCKET, SEQUENCE, QUIET, SENT, AWAKE, MISSED, FULL, THREADS = range(9)
NO_SOCKET: Final = (1 << 64) - 1
U32: Final = 0xFFFFFFFF
STALE_ANSWERS: Final = 4096  # more than a socket holds

Answer = Callable[[int, int], None]  # errno, 0 if it worked; the word behind it, which the task chose


@dataclass(slots=True)
class _Asked:
    """A request that is not answered yet. `deadline` on the loop's clock. `behind`: the last quiet one before it, where
    its answer says that this has worked."""

    answer: Answer
    deadline: float
    behind: int | None


class ControlSocket:
    """One process's, which does not run before the first `runs(True)`: until then it is not expected to answer.

    ``lives``: how many kernels there were before this one, if one of them has made the socket.

    Attributes:
        words: what the fast path needs to send mappings by itself, which it may while `ROOM` is not 0. The last
            sequence number is kept there, whoever sends.
    """

    def __init__(
        self,
        channel: socket.socket,
        loop: asyncio.AbstractEventLoop,
        disobeyed: Callable[[str], None],
        lives: int = 0,
    ) -> None:
        self._channel = channel
        self._loop = loop
        self._disobeyed = disobeyed
        self._first = lives << NUMBER_BITS & 0xFFFFFFFF
        self.words = array("Q", (0, channel.fileno(), self._first, 0, 0, NO_SOCKET, 0, 0))
        self._awake: socket.socket | None = None
        self._stale = STALE_ANSWERS if lives else 0  # so many may come yet
        self._waiting: dict[int, _Asked] = {}  # in the order of their deadlines
        self._quiet: dict[int, Answer] = {}  # in the order in which they were sent
        self._runs = False
        self._stopped_at = loop.time()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        channel.setblocking(False)
        loop.add_reader(channel.fileno(), self._readable)

    def thread(
        self, number: int, image: int, arguments: Sequence[int], frame: int, doorbell: int, answer: Answer
    ) -> None:
        """Start a further thread; the answer's word is its number at the host. The descriptors stay the caller's."""
        self._send(ControlOp.THREAD, answer, number, image, arguments, (frame, doorbell))

    def park(self, number: int, answer: Answer) -> None:
        """Stop a thread; the answer's meaning stands beside ControlOp.PARK."""
        self._send(ControlOp.PARK, answer, number)

    def unpark(self, number: int, answer: Answer) -> None:
        """Let a thread go on."""
        self._send(ControlOp.UNPARK, answer, number)

    def map(
        self, address: int, size: int, rights: int, memory: int, number: int, answer: Answer, quiet: bool = False
    ) -> None:
        """Map memory, over what is there. The descriptor stays the caller's. Raises OSError if it cannot be sent.

        ``number``: its own among all MAPs and UNMAPs. ``quiet``: it is answered where it fails alone, before any later
        MAP or UNMAP is answered.
        """
        if self._closed:
            return
        if self.words[FULL]:  # no more than a window of mappings is ever on its way to who obeys what it answers for
            self._disobeyed("its second socket is full")
            return
        # Sent first: a thread waits for it. Its answer is not looked at before this returns.
        sequence = self._next()
        flags = MAP_QUIETLY if quiet else MAP_OVER
        words = (address, size, rights, flags, number & U32, 0)
        self._hand(MESSAGE.pack(ControlOp.MAP, sequence, 0, 0, *words), (memory,))
        self.mapped(sequence, answer, quiet)

    def mapped(self, sequence: int, answer: Answer, quiet: bool) -> None:
        """A mapping was sent under this number. ``quiet``: as `map`."""
        if quiet:
            self._quiet[sequence] = answer
        else:
            self._ask(sequence, answer, True)

    def unmap(self, address: int, size: int, number: int, answer: Answer) -> None:
        """End what is mapped at these addresses. ``number``: as `map`."""
        self._send(ControlOp.UNMAP, answer, 0, 0, (address, size, 0, 0, number & U32))

    def open_awake(self) -> None:
        """Have a second socket, by which the fast path sends what a thread waits for to that thread itself. Once.

        Where the host, the kernel or the process has no more descriptors, there is none, and `MISSED` counts anew.
        """
        if self._awake is not None or self._closed:
            return
        self.words[MISSED] = 0
        try:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        except OSError:
            return
        with theirs:
            if not (is_spare(ours.fileno()) and is_spare(theirs.fileno())):
                ours.close()
                return
            theirs.setblocking(False)
            ours.setblocking(False)
            ours.shutdown(socket.SHUT_RD)
            self._awake = ours
            try:
                self._send(ControlOp.AWAKE, self._awake_answer, 0, 0, (), (theirs.fileno(),))
            except OSError:  # there are too many descriptors on their way
                self._close_awake()

    def _awake_answer(self, error: int, _: int) -> None:
        if error:
            self._close_awake()
        elif self._awake is not None:
            self.words[AWAKE] = self._awake.fileno()

    def _close_awake(self) -> None:
        self.words[AWAKE] = NO_SOCKET
        if self._awake is not None:
            self._awake.close()
            self._awake = None

    def channel(self, number: int, words: Sequence[int], page: int, answer: Answer) -> None:
        """Hand a thread a channel's page. The descriptor stays the caller's. Raises OSError if it cannot be sent."""
        self._send(ControlOp.CHANNEL, answer, number, 0, words, (page,))

    def channel_close(self, number: int, channels: Sequence[int], answer: Answer) -> None:
        """These channels, `abi.CONTROL_CLOSED_TOGETHER` at the most, are no more for the thread."""
        words = [low | high << 32 for low, high in zip_longest(channels[::2], channels[1::2], fillvalue=0)]
        self._send(ControlOp.CHANNEL_CLOSE, answer, number, 0, words)

    def channels_look(self, answer: Answer) -> None:
        """Channels whose pages are gone are no more, for all threads."""
        self._send(ControlOp.CHANNELS_LOOK, answer, 0)

    def receiver_died(self, number: int, channel: int, listener: int, answer: Answer) -> None:
        """The thread is the client of a channel, and that listener will not answer any more."""
        self._send(ControlOp.RECEIVER_DIED, answer, number, 0, (channel, listener))

    def runs(self, runs: bool) -> None:
        """The process may run from now on, or is stopped by the host and cannot answer."""
        if runs and not self._runs:
            now = self._loop.time()
            for asked in self._waiting.values():
                # Later by as long as it did not run since it was asked. Were it given all of the time anew, one that
                # is stopped often need never answer.
                asked.deadline += now - max(self._stopped_at, asked.deadline - ANSWER_S)
        elif self._runs and not runs:
            self._stopped_at = self._loop.time()
        self._runs = runs
        if runs:
            self._expect()

    def close(self) -> None:
        """Let go of it: if the process still lives, it ends. No answer comes any more."""
        if not self._closed:
            self._closed = True
            self.words[ROOM] = 0
            if self._timer is not None:
                self._timer.cancel()
            self._loop.remove_reader(self._channel.fileno())
            self._channel.close()
            self._close_awake()
            self._waiting.clear()
            self._quiet.clear()

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
        sequence = self._next()
        padded = (*words, *(0,) * abi.CONTROL_WORD_COUNT)[: abi.CONTROL_WORD_COUNT]
        self._hand(MESSAGE.pack(op, sequence, thread, image, *padded), descriptors)
        self._ask(sequence, answer, op == ControlOp.UNMAP)

    def _next(self) -> int:
        sequence = self.words[SEQUENCE] = self._first | self.words[SEQUENCE] + 1 & (1 << NUMBER_BITS) - 1
        return sequence

    def _ask(self, sequence: int, answer: Answer, of_memory: bool) -> None:
        """Expect the answer to a request that was sent. ``of_memory``: a MAP or an UNMAP."""
        if not self._closed:
            behind = next(reversed(self._quiet), None) if of_memory else None
            self._waiting[sequence] = _Asked(answer, self._loop.time() + ANSWER_S, behind)
            self._expect()

    def _hand(self, data: bytes, descriptors: Sequence[int]) -> None:
        try:
            if descriptors:
                # As socket.send_fds, which takes longer to make what it sends.
                packed = struct.pack(f"{len(descriptors)}i", *descriptors)
                self._channel.sendmsg((data,), ((socket.SOL_SOCKET, socket.SCM_RIGHTS, packed),))
            else:
                self._channel.send(data)
        except BlockingIOError:
            self._disobeyed("its control socket is full")
        except (BrokenPipeError, ConnectionResetError):
            return  # it is ending; the zygote will say so

    def _expect(self) -> None:
        """Look again when the oldest request is due. One timer, which answers do not move: most find nothing due."""
        if self._runs and self._waiting and self._timer is None:
            oldest = next(iter(self._waiting.values()))
            self._timer = self._loop.call_later(oldest.deadline - self._loop.time(), self._due)

    def _due(self) -> None:
        self._timer = None
        # This process may have been the one that did not run: what came meanwhile has been waiting to be read.
        self._readable()
        if self._closed or not self._runs or not self._waiting:
            return
        if next(iter(self._waiting.values())).deadline <= self._loop.time():
            self._disobeyed(f"it does not answer within {ANSWER_S:g} s")
        else:
            self._expect()

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
        op, sequence, _, _, error, word, *_ = MESSAGE.unpack(data)
        if op == ControlOp.DONE and self._stale and sequence >> NUMBER_BITS != self._first >> NUMBER_BITS:
            self._stale -= 1
            return True
        asked = self._waiting.pop(sequence, None)
        answer = asked.answer if asked is not None else self._quiet.get(sequence)
        if op != ControlOp.DONE or answer is None:
            return False
        self._forget_quiet(sequence if asked is None else asked.behind)
        answer(error, word)
        return True

    def _forget_quiet(self, last: int | None) -> None:
        """MAPs and UNMAPs are done in order: what is quiet and was sent up to this one is answered, or has worked.

        The answer to any other request says nothing of those that went by the second socket. Numbers do not tell which
        one was sent first: there may be any count of other requests between two mappings.
        """
        while last in self._quiet:
            del self._quiet[next(iter(self._quiet))]
