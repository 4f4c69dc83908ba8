"""The server loop: receive, dispatch, reply; deferred replies; long results.

A server has one endpoint, since a seL4 thread waits at one place. All that it provides comes in there, told apart
by badge; signals of the bound notification end the same receive (their badge has `SIGNAL_BADGE`).

Rules: nothing that a client sends ends the loop. A message is copied and decoded before its method runs. An
exception becomes a reply (and a line in the log), a capability that nobody asked for is deleted. Several threads may
run `serve` on one `Server`, each with a reply object of its own.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from libsel4py import abi
from libsel4py.abi import Status, Syscall
from libsel4py.capabilities import Endpoint, Reply
from libsel4py.context import Caller, per_thread
from libsel4py.deferred import Deferred
from libsel4py.dispatch import Entry, bind
from libsel4py.environment import SIGNAL_BADGE
from libsel4py.errors import InvalidMessage, TooManyDeferred, UnknownMethod
from libsel4py.interface import Interface, identity, interfaces_of
from libsel4py.long_results import LongResults
from libsel4py.lowlevel.syscalls import FOREVER_NS, machine
from libsel4py.results import EXTRA_CAPS
from libsel4py.task import Task
from libsel4py.wire import CONTINUE, EMPTY, IDENTIFY, Outcome, Words, is_declared, put, put_failure

MAX_DEFERRED: Final = 64
_NOBODY: Final = Caller(0, "nobody")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Provided:
    """One provided interface with its dispatch table."""

    interface: type[Interface]
    table: dict[int, Entry]
    takes_capabilities: bool


@dataclass(frozen=True, slots=True)
class _Connection:
    """What a badge stands for."""

    provided: _Provided
    caller: Caller


class Server:
    """Answers what arrives at one endpoint.

    Args:
        endpoint: to receive on. task: whose slots and reply objects are used.
        max_deferred: replies that may be owed at one time.
    """

    def __init__(self, endpoint: Endpoint, task: Task, *, max_deferred: int = MAX_DEFERRED) -> None:
        self.endpoint = endpoint
        self.task = task
        self.long_results = LongResults()
        self._connections: dict[int, _Connection] = {}
        self._provided: list[_Provided] = []
        self._signals: list[tuple[int, Callable[[int], None]]] = []
        self._other_signals: Callable[[int], None] | None = None
        self._spare_replies: list[int] = []
        self._deferred_count = 0
        self._max_deferred = max_deferred
        self._lock = threading.Lock()
        self._stopping = False

    def provide(
        self,
        implementation: Interface,
        interface: type[Interface] | None = None,
        *,
        name: str = "",
        clients: dict[int, str] | None = None,
    ) -> None:
        """Let an object answer an interface for the clients of these badges.

        Where only one interface is provided, badges that are in no list are answered too (caller name ``#badge``).

        Raises:
            TypeError: the object implements none, or several and ``interface`` does not say which, or lacks a method.
            ValueError: a badge is taken already.
        """
        interface = interface or _only_interface(implementation)
        table = bind(interface.interface_methods, implementation, self.long_results.keep)
        takes = any(entry.method.capability is not None for entry in table.values())
        provided = _Provided(interface, table, takes)
        for badge, client in (clients or {}).items():
            if badge in self._connections or not 0 <= badge < SIGNAL_BADGE:
                raise ValueError(f"badge {badge} of client {client} is taken already, or not below 2**63")
            self._connections[badge] = _Connection(provided, Caller(badge, client, name))
        self._provided.append(provided)

    def add_client(self, badge: int, client: str, interface: type[Interface]) -> None:
        """Name one more client of an interface that is provided already. Raises ValueError, LookupError."""
        for provided in self._provided:
            if provided.interface is interface:
                if badge in self._connections:
                    raise ValueError(f"badge {badge} is {self._connections[badge].caller.name} already")
                self._connections[badge] = _Connection(provided, Caller(badge, client))
                return
        raise LookupError(f"{interface.__name__} is not provided here: provide() it first")

    def remove_client(self, badge: int) -> None:
        """Forget a client; what it sends from now on is answered as a stranger's."""
        self._connections.pop(badge, None)

    def on_signal(self, bits: int, handler: Callable[[int], None]) -> None:
        """Call ``handler(bits that were set)`` on signals in ``bits``; 0 takes all that nobody else takes."""
        if bits:
            self._signals.append((bits, handler))
        else:
            self._other_signals = handler

    def stop(self) -> None:
        """End `serve` after the request that runs now (or the next event, for threads that wait)."""
        self._stopping = True

    def serve(self, reply: Reply) -> None:
        """Answer until `stop`. ``reply`` is this thread's reply object."""
        _Loop(self, reply.cptr).run()

    def serve_waiting(self, reply: Reply) -> bool:
        """Answer one message if one waits; False if none did. For tests and for loops of one's own."""
        return _Loop(self, reply.cptr).step()

    # --- what the loops use ------------------------------------------------------------------------------------

    def connection(self, badge: int) -> _Connection:
        """What a badge stands for. Raises InvalidMessage if it stands for nothing here."""
        found = self._connections.get(badge)
        if found is not None:
            return found
        if len(self._provided) == 1:
            return _Connection(self._provided[0], Caller(badge, f"#{badge}"))
        raise InvalidMessage(f"badge {badge} is no client of this server: it was not told which interface is meant")

    @property
    def takes_capabilities(self) -> bool:
        return any(provided.takes_capabilities for provided in self._provided)

    @property
    def stopping(self) -> bool:
        return self._stopping

    def take_reply(self) -> int:
        """A reply object for the loop, in the place of one that is handed out.

        Raises:
            TooManyDeferred: as many replies are owed as may be. NotEnoughMemory, OutOfSlots.
        """
        with self._lock:
            if self._deferred_count >= self._max_deferred:
                raise TooManyDeferred(f"{self._deferred_count} clients wait for their replies already; ask again later")
            reply = self._spare_replies.pop() if self._spare_replies else self.task.new_reply().cptr
            self._deferred_count += 1
            return reply

    def give_back_reply(self, reply: int) -> None:
        """A handed-out reply object whose caller has been answered."""
        with self._lock:
            self._deferred_count -= 1
            self._spare_replies.append(reply)

    def signalled(self, badge: int) -> None:
        """Run the handlers of a signal. Their exceptions are logged: a bad interrupt must not end the server."""
        bits = badge & ~SIGNAL_BADGE
        for mask, handler in self._signals:
            if bits & mask:
                _guarded(handler, bits & mask)
            bits &= ~mask
        if bits and self._other_signals is not None:
            _guarded(self._other_signals, bits)
        elif bits:
            _log.warning("signal %#x has no handler: decorate a method with @on_notification", bits)


def _guarded(handler: Callable[[int], None], bits: int) -> None:
    try:
        handler(bits)
    except Exception:
        _log.exception("the handler of signal %#x raised", bits)


def _only_interface(implementation: Interface) -> type[Interface]:
    found = interfaces_of(type(implementation))
    if len(found) != 1:
        names = ", ".join(each.__name__ for each in found) or "none"
        raise TypeError(f"{type(implementation).__name__} implements {names}: say which one is provided here")
    return found[0]


class _Loop:
    """One thread's receive loop, and its state for the request that runs."""

    def __init__(self, server: Server, reply: int) -> None:
        self.caller = _NOBODY
        self._server = server
        self._reply = reply
        self._entry: Entry | None = None
        self._token: Deferred | None = None

    def run(self) -> None:
        server, endpoint = self._server, self._server.endpoint.cptr
        former, per_thread.serving = per_thread.serving, self
        try:
            answer: Words | None = None
            while not server.stopping:
                if server.takes_capabilities:
                    server.task.receive.arm()
                operation, words = (Syscall.RECV, EMPTY) if answer is None else (Syscall.REPLY_RECV, answer)
                completion = machine.trap(operation, endpoint, *words, self._reply, 0, FOREVER_NS)
                answer = self._answer(*completion)
            if answer is not None:
                machine.trap(Syscall.SEND, self._reply, *answer, 0, 0, FOREVER_NS)
        finally:
            per_thread.serving = former

    def step(self) -> bool:
        """As `run`, for one message that waits already."""
        server = self._server
        former, per_thread.serving = per_thread.serving, self
        try:
            if server.takes_capabilities:
                server.task.receive.arm()
            completion = machine.trap(Syscall.NB_RECV, server.endpoint.cptr, *EMPTY, self._reply, 0, FOREVER_NS)
            if completion[1] == 0 and completion[2] == 0:
                return False
            answer = self._answer(*completion)
            if answer is not None:
                machine.trap(Syscall.SEND, self._reply, *answer, 0, 0, FOREVER_NS)
            return True
        finally:
            per_thread.serving = former

    def _answer(self, status: int, badge: int, info: int, m0: int, m1: int, m2: int, m3: int) -> Words | None:
        """The reply to what came in; None if there is none to give (signals, deferred replies)."""
        if status == Status.CANCELLED:
            return None
        if badge >= SIGNAL_BADGE:
            self.caller = _NOBODY
            self._server.signalled(badge)
            return None
        self._token = self._entry = None
        try:
            connection = self._server.connection(badge)
            self.caller = connection.caller
            self._entry = entry = connection.provided.table.get(info >> 12)
            if entry is None:
                return self._reserved(connection, info, m0, m1)
            answer = entry.handle(info, m0, m1, m2, m3)
        except Exception as error:
            return self._failed(error, info)
        return answer if self._token is None else None

    def _reserved(self, connection: _Connection, info: int, m0: int, m1: int) -> Words:
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
        declared = self._entry.method.raises if self._entry is not None else ()
        what = self._entry.method.full_name if self._entry is not None else "a message"
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
        """Hand out the current reply object. Part of `context.Serving`."""
        if self._entry is None or self._token is not None:
            raise RuntimeError("this request's reply is deferred already, or no method runs")
        fresh = self._server.take_reply()
        self._token = Deferred(self._reply, self._entry, self.caller, self._server.give_back_reply)
        self._reply = fresh
        return self._token
