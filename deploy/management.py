"""The client of a running system's management socket (docs/architecture.md, section 8).

Rules: one request, one reply, each with a time limit; what comes back is checked before it is believed.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final

import msgspec
import zmq

from deploy.answers import AnswerError

REPLY_SECONDS: Final = 10.0  # a kernel answers within milliseconds; an inspection of a large RAM within seconds


_ASK_AGAIN_SECONDS: Final = 0.25
MOST_CLOSING: Final = 200  # requests whose sockets may be closing: ZeroMQ does so later, and has room for 1023
_ONCE: Final = ("kill", "upgrade")  # what would meet somebody else the second time


class ManagementError(AnswerError):
    """A system did not do what it was asked; the text says why."""


class NotAnswering(ManagementError):
    """No reply came in time."""


class Refused(ManagementError):
    """The system answered that it cannot; the text is its reason."""


class Reply(msgspec.Struct, frozen=True):
    """What the kernel answers."""

    ok: bool
    result: object = None
    error: str = ""


class Management:
    """Talks to the system whose runtime folder is ``folder``. Use as a context manager."""

    def __init__(self, folder: Path, seconds: float = REPLY_SECONDS) -> None:
        self.folder = folder
        self.seconds = seconds
        self._context = zmq.Context[zmq.Socket[bytes]]()
        self._asking = zmq.Context[zmq.Socket[bytes]]()  # of requests alone, each of which has sockets of its own
        self._asked = 0

    def __enter__(self) -> Management:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._context.destroy(linger=0)
        self._asking.destroy(linger=0)

    def request(self, op: str, **fields: object) -> object:
        """Asks for ``op`` and returns its result. Where the kernel dies meanwhile, the next one is asked.

        Raises:
            NotAnswering: nothing came within ``seconds``, or the kernel died, and may have done what is done only once.
            Refused: the system said no.
        """
        return self._request(op, self.seconds, fields)

    def request_long(self, op: str, seconds: float, **fields: object) -> object:
        """As ``request``, of what takes up to ``seconds``. A system that answers nothing is not waited for so long."""
        self.request("status")
        return self._request(op, seconds, fields)

    def _request(self, op: str, seconds: float, fields: Mapping[str, object]) -> object:
        with self._told():
            return self._exchange(op, seconds, fields)

    def _exchange(self, op: str, seconds: float, fields: Mapping[str, object]) -> object:
        self._asked += 1
        if self._asked % MOST_CLOSING == 0:
            self._asking.term()  # waits for them
            self._asking = zmq.Context[zmq.Socket[bytes]]()
        socket = self._asking.socket(zmq.DEALER)
        monitor = socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        try:
            socket.linger = 0
            # Connecting again soon lets a request wait for a system that is just starting.
            socket.reconnect_ivl = 20
            socket.connect(f"ipc://{self.folder / 'management'}")
            # The empty frame is what a REQ socket would send; a reply is taken with or without it.
            question = [b"", msgspec.msgpack.encode({"op": op, **fields})]
            socket.send_multipart(question)
            self._wait_reply(op, seconds, question, socket, monitor)
            return self._result(socket.recv_multipart()[-1])
        finally:
            socket.disable_monitor()
            monitor.close()
            socket.close()

    def _wait_reply(
        self, op: str, seconds: float, question: list[bytes], socket: zmq.Socket[bytes], monitor: zmq.Socket[bytes]
    ) -> None:
        deadline = time.monotonic() + seconds
        poller = zmq.Poller()
        poller.register(socket, zmq.POLLIN)
        poller.register(monitor, zmq.POLLIN)
        while ready := dict(poller.poll(max(0, round((deadline - time.monotonic()) * 1000)))):
            if socket in ready:
                return
            monitor.recv_multipart()
            if op in _ONCE:
                raise NotAnswering(f"the kernel of {self.folder.name} died while it was asked to {op}; see what it did")
            socket.send_multipart(question)
        raise NotAnswering(
            f"the system {self.folder.name} did not answer {op!r} within {seconds:g} s; "
            f"see `sel4py logs kerneld --system {self.folder.name}`, or end it with `sel4py down --force`"
        )

    def wait_up(self, died: int, seconds: float) -> None:
        """Waits until the system says that it is up.

        Args:
            died: a descriptor that becomes readable when the system's monitor has failed or ended.
        Raises:
            NotAnswering: it is not up after ``seconds``. ManagementError: ``died`` became readable.
        """
        with self._told():
            self._wait_up(died, seconds)

    def _wait_up(self, died: int, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        asked, told = self._context.socket(zmq.DEALER), self._context.socket(zmq.SUB)
        for socket, name in ((told, "events"), (asked, "management")):
            socket.linger = 0
            socket.reconnect_ivl = 20
            socket.connect(f"ipc://{self.folder / name}")
        told.subscribe(b"")
        poller = zmq.Poller()
        for source in (asked, told, died):
            poller.register(source, zmq.POLLIN)
        pending = answered = False
        while (left := deadline - time.monotonic()) > 0:
            if not pending:
                asked.send_multipart([b"", msgspec.msgpack.encode({"op": "status"})])
                pending, answered = True, False
            ready = dict(poller.poll(round(min(left, _ASK_AGAIN_SECONDS) * 1000)))
            if died in ready:
                raise ManagementError("it ended before it was up")
            if asked in ready:
                answered = True
                if _is_up(self._result(asked.recv_multipart()[-1])):
                    return
            while told in ready and told.poll(0):
                told.recv_multipart()
            # Ask again when something has happened; and in a while, as an event before the connection stood was missed.
            pending = not (answered and (told in ready or not ready))
        raise NotAnswering(f"the system {self.folder.name} was not up within {seconds:g} s")

    def events(self, seconds: float) -> Generator[Mapping[str, object] | None, None, None]:
        """What the system tells, as it comes; None whenever nothing came for ``seconds``. Never ends by itself."""
        with self.listen() as listener:
            while True:
                yield listener.next(seconds)

    def listen(self) -> Listener:
        """Hear what the system tells from now on. Close it before this."""
        with self._told():
            return Listener(self._context, self.folder)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """What the host refuses, a socket or its descriptor, is an answer too."""
        try:
            yield
        except zmq.ZMQError as error:
            raise ManagementError(f"the system {self.folder.name} cannot be asked: {error.strerror}") from error
        except UnicodeEncodeError as error:
            raise ManagementError(f"{error.object!r} is not UTF-8, and cannot be handed over") from error

    def _result(self, data: bytes) -> object:
        try:
            reply = msgspec.msgpack.decode(data, type=Reply)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise ManagementError(f"the system {self.folder.name} answered what is no reply: {error}") from error
        if not reply.ok:
            raise Refused(reply.error or "the system gave no reason")
        return reply.result


class Listener:
    """What a system tells. Use as a context manager."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], folder: Path) -> None:
        self._socket = context.socket(zmq.SUB)
        self._socket.linger = 0
        self._socket.reconnect_ivl = 20
        self._socket.subscribe(b"")
        self._socket.connect(f"ipc://{folder / 'events'}")

    def __enter__(self) -> Listener:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._socket.close()

    def next(self, seconds: float) -> Mapping[str, object] | None:
        """The next event; None if none came for ``seconds``. What is no event is passed over."""
        until = time.monotonic() + seconds
        while self._socket.poll(max(0, round((until - time.monotonic()) * 1000))):
            try:
                return msgspec.msgpack.decode(self._socket.recv_multipart()[-1], type=dict[str, object])
            except msgspec.MsgspecError:
                continue
        return None


def _is_up(status: object) -> bool:
    """``status`` tells the state of a system that is still being built; one that tells none is up."""
    return not isinstance(status, Mapping) or status.get("state", "up") == "up"
