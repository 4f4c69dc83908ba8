"""The server loop: receive, dispatch, reply.

Rules: one thread, one loop, one reply object at a time. A request is copied and decoded before its method runs, and
everything that traps (logging apart) is done before the reply is packed, since there is one message area. Requests by
channel arrive at the same receive, and are answered by the next one as all others are; no reply object holds them.
What is usual about a request goes round in the machine (`Cpu.serve`): here is what is not.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from libsel4py import abi
from libsel4py.abi import Served, Status, Syscall
from libsel4py.capabilities import Endpoint, Notification
from libsel4py.context import Caller, per_thread
from libsel4py.deferred import ByChannel, ByReply, Deferred, WayBack
from libsel4py.dispatch import Entry
from libsel4py.environment import SIGNAL_BADGE
from libsel4py.errors import InvalidMessage, KernelError, UnknownMethod
from libsel4py.interface import identity
from libsel4py.lowlevel.cspace import OutOfSlots
from libsel4py.lowlevel.machine import Answer, Words
from libsel4py.lowlevel.syscalls import FOREVER_NS, Completion, listen, machine, unpack, wait_and_listen
from libsel4py.results import EXTRA_CAPS
from libsel4py.wire import (
    CONTINUE,
    EMPTY,
    IDENTIFY,
    Outcome,
    as_words,
    first_words,
    is_declared,
    put,
    put_failure,
)

if TYPE_CHECKING:
    from libsel4py.server import Alarm, Connection, Server
    from libsel4py.task import ReceiveSlot

LONGEST_WAIT: Final = 1e6  # seconds; an alarm that is later is none
_NOBODY: Final = Caller(0, "nobody")
_log = logging.getLogger(__name__)


def guarded(handler: Callable[[], None]) -> None:
    """Call it. What it raises is logged: it must not end the server."""
    try:
        handler()
    except Exception:
        _log.exception("what was to be done in time raised")


def wait_to_serve(notification: Notification, target: Endpoint) -> None:
    """Wait for a signal. From then on this thread, which is about to serve, takes the channels of the target."""
    if wait_and_listen(notification.cptr, target.cptr):
        per_thread.listens_to = target.cptr


@contextmanager
def listening(target: Endpoint | Notification, *, to_the_end: bool = False) -> Iterator[None]:
    """Take the channels of a target for the length of the block; without them, if kernel or host refuse that.

    ``to_the_end``: the process ends behind the block, and with it the listening. To leave before would take the pages
    from their clients, and calls that nobody has taken with them; so those wait for the task's next life.
    """
    begun, per_thread.listens_to = per_thread.listens_to == target.cptr, 0
    try:
        if not begun:
            target.listen()
    except (KernelError, OSError) as error:
        _log.debug("%s takes no channels: %s", target, error)
        yield
        return
    try:
        yield
    finally:
        if not to_the_end:
            listen(0)


class ServerLoop:
    """One thread's receive loop, and its state for the request that runs.

    Args:
        reply: address of this thread's reply object; a deferred reply takes it along, and another takes its place.
    Attributes:
        caller, entry: of the request that runs. The machine sets them, too.
    """

    def __init__(self, server: Server, reply: int) -> None:
        self.caller = _NOBODY
        self._server = server
        self._reply = reply
        self.entry: Entry | None = None
        self._token: Deferred | None = None
        self._is_full = False  # no slot is left for what comes

    def run(self, to_the_end: bool = False) -> None:
        """Serve until the server stops. ``to_the_end``: the process ends then."""
        former, per_thread.serving = per_thread.serving, self
        try:
            with listening(self._server.endpoint, to_the_end=to_the_end):
                if self._server.alarm is None:
                    self._serve()
                else:
                    self._serve_in_time(self._server.alarm)
        finally:
            per_thread.serving = former

    def _serve(self) -> None:
        """What is usual goes round in the machine (`Cpu.serve`), and comes here where it is not."""
        server, endpoint = self._server, self._server.endpoint.cptr
        receive = server.task.receive  # this thread's, which runs no other loop
        answer: Answer | None = None
        while not server.stopping:
            if server.takes_capabilities:
                self._arm(receive)
            self._token = None
            watched = receive if server.takes_capabilities else None
            served, value, info = machine.serve(endpoint, answer, self._reply, self, server, watched)
            if served == Served.REQUEST:
                answer = self._answer(*value)
            elif served == Served.RAISED:
                answer = self._failed(value, info)
            else:
                answer = value if self._token is None else None
            value = None  # an exception holds the frame of its method, and all that is in it
        if answer is not None:
            self._reply_alone(answer)

    def _serve_in_time(self, alarm: Alarm) -> None:
        """As `_serve`, of a server that does something at its times. Nobody waits for an answer meanwhile."""
        server, endpoint = self._server, self._server.endpoint.cptr
        answer: Answer | None = None
        while not server.stopping:
            due = alarm.due()
            left = LONGEST_WAIT if due == math.inf else due - time.monotonic()
            if answer is not None and left < LONGEST_WAIT:
                self._reply_alone(answer)
                answer = None
            if left <= 0:
                guarded(alarm.ring)
                continue
            if server.takes_capabilities:
                self._arm(server.task.receive)
            if answer is not None:
                request = machine.answer_recv(endpoint, answer, self._reply)
            else:
                timeout_ns = FOREVER_NS if left >= LONGEST_WAIT else int(left * 1e9)
                request = machine.recv(endpoint, self._reply, timeout_ns)
            answer = self._answer(*request)
        if answer is not None:
            self._reply_alone(answer)

    def _arm(self, receive: ReceiveSlot) -> None:
        """Have a slot ready for a capability. Where none is left what comes is not taken, and the server goes on."""
        try:
            receive.arm()
        except OutOfSlots as error:
            if not self._is_full:
                _log.warning("capabilities that come are refused: %s", error)
            self._is_full = True
        else:
            self._is_full = False

    def step(self) -> bool:
        """As `run`, for one message that waits already."""
        server = self._server
        former, per_thread.serving = per_thread.serving, self
        try:
            if server.takes_capabilities:
                self._arm(server.task.receive)
            completion = machine.trap(Syscall.NB_RECV, server.endpoint.cptr, *EMPTY, self._reply, 0, FOREVER_NS)
            if completion[0] == Status.EMPTY:
                return False
            answer = self._answer(*completion)
            if answer is not None:
                self._reply_alone(answer)
            return True
        finally:
            per_thread.serving = former

    def _reply_alone(self, answer: Answer) -> None:
        """Answer the request that came last, without another receive."""
        words, handle = as_words(answer), machine.detach()
        if handle:
            machine.answer(handle, *words)
        else:
            machine.trap(Syscall.SEND, self._reply, *words, 0, 0, FOREVER_NS)

    def _answer(self, status: int, badge: int, info: int, m0: int | bytes, m1: int, m2: int, m3: int) -> Answer | None:
        """The answer to what came in; None if there is none to give (signals, deferred replies)."""
        if status:
            return None
        if isinstance(m0, bytes):
            m0, m1, m2, m3 = first_words(m0)
        if badge >= SIGNAL_BADGE:
            self.caller = _NOBODY
            self._server.signalled(badge)
            return None
        self._token = self.entry = None
        try:
            connection = self._server.connection(badge)
            if connection is None:
                return self._stranger((status, badge, info, m0, m1, m2, m3))
            self.caller = connection.caller
            self.entry = entry = connection.provided.table.get(info >> 12)
            if entry is None:
                return self._reserved(connection, info, m0, m1)
            answer = entry.handle(info, m0, m1, m2, m3)
        except Exception as error:
            return self._failed(error, info)
        return answer if self._token is None else None

    def _stranger(self, completion: Completion) -> Words | None:
        self.caller = _NOBODY
        message = unpack(completion, "a receive")
        if message.extra_caps:
            self._server.task.receive.discard()
        handler = self._server.stranger
        answer = None if handler is None else handler(message.badge, message.label, message.words)
        if answer is None and (handle := machine.detach()):
            # Behind a reply object the next receive would let it go; a caller by channel waits until it is answered.
            machine.answer(handle, *put_failure(InvalidMessage("this server does not answer you"), ()))
        return answer

    def _reserved(self, connection: Connection, info: int, m0: int, m1: int) -> Words:
        if info & EXTRA_CAPS:
            self._server.task.receive.discard()
        interface = connection.provided.interface
        match abi.info_label(info):
            case label if label == IDENTIFY:
                return put(Outcome.OK, identity(interface), "the identity")
            case label if label == CONTINUE:
                piece = self._server.long_results.fetch(connection.caller.badge, m0, m1)
                return put(Outcome.OK, piece, "a piece of a long result")
            case label:
                known = ", ".join(f"{each.label} {each.name}" for each in interface.interface_methods.values())
                raise UnknownMethod(f"{interface.__name__} has no method with label {label:#x}; it has {known}"[:190])

    def _failed(self, error: Exception, info: int) -> Words | None:
        """Log an exception and make it the reply. What it traps for is done before the reply is packed."""
        declared = self.entry.method.raises if self.entry is not None else ()
        what = self.entry.method.full_name if self.entry is not None else "a message"
        if isinstance(error, InvalidMessage):
            _log.warning("%s from %s was refused: %s", what, self.caller.name, error)
        elif not is_declared(error, declared):
            _log.error("%s, called by %s, raised", what, self.caller.name, exc_info=error)
        if info & EXTRA_CAPS:
            self._server.task.receive.discard()
        if self._token is not None:
            self._token.fail_unless_done(error)
            return None
        return put_failure(error, declared)

    def defer(self) -> Deferred:
        """Hand out what the current request is answered by. Part of `context.Serving`."""
        if self.entry is None or self._token is not None:
            raise RuntimeError("this request's reply is deferred already, or no method runs")
        self._server.owed.add(self.caller.name)
        self._token = Deferred(self._take_way_back(), self.entry, self.caller)
        return self._token

    def _take_way_back(self) -> WayBack:
        """How to answer the current request later. A reply object leaves the loop so, and another takes its place."""
        server, client = self._server, self.caller.name
        handle = machine.detach()
        if handle:
            return ByChannel(handle, lambda: server.owed.remove(client))
        try:
            fresh = server.take_reply()
        except BaseException:
            server.owed.remove(client)
            raise
        reply, self._reply = self._reply, fresh

        def give_back() -> None:
            server.owed.remove(client)
            server.give_back_reply(reply)

        return ByReply(reply, give_back)
