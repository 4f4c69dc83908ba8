"""A server: what one endpoint provides to whom, its signals, and its reply objects.

A server has one endpoint, since a seL4 thread waits at one place. All that it provides comes in there, told apart
by badge; signals of the bound notification end the same receive (their badge has `SIGNAL_BADGE`).

Rules: nothing that a client sends ends the loop. A message is copied and decoded before its method runs. An
exception becomes a reply (and a line in the log), a capability that nobody asked for is deleted. Several threads may
run `serve` on one `Server`, each with a reply object of its own. The loop itself is in `server_loop`. Of the replies
that it may owe each client has a share (`owed`).
"""

from __future__ import annotations

import itertools
import logging
import threading
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from libsel4py.capabilities import Endpoint, Notification, Reply
from libsel4py.context import Caller
from libsel4py.deaths import DEATH_SIGNALS
from libsel4py.dispatch import Entry, bind
from libsel4py.environment import HEARTBEAT_SIGNAL, SIGNAL_BADGE, STOP_SIGNAL
from libsel4py.errors import InvalidMessage
from libsel4py.interface import Interface, interfaces_of
from libsel4py.long_results import LongResults
from libsel4py.lowlevel.machine import Words
from libsel4py.owed import Owed
from libsel4py.server_loop import ServerLoop
from libsel4py.state import keeper_of
from libsel4py.task import Task

MAX_DEFERRED: Final = 64
Stranger = Callable[[int, int, tuple[int, ...]], Words | None]
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ProvidedInterface:
    """One provided interface with its dispatch table."""

    interface: type[Interface]
    table: dict[int, Entry]


@dataclass(frozen=True, slots=True)
class Connection:
    """What a badge stands for."""

    provided: ProvidedInterface
    caller: Caller


@dataclass(frozen=True, slots=True)
class Alarm:
    """What the loop does when time has come: ``ring`` once it is ``due()``, a moment of `time.monotonic`."""

    due: Callable[[], float]
    ring: Callable[[], None]


class Server:
    """Answers what arrives at one endpoint.

    Args:
        endpoint: to receive on. task: whose slots and reply objects are used.
        max_deferred: replies that may be owed at one time.
    Attributes:
        takes_capabilities: some method does, so that a slot must be ready for one. stopping: `stop` was called.
        changes: one word, another one whenever one of these two has changed. owed: who waits for deferred replies.
        connections: what badges stand for. alarm: what is to be done in time, for the thread that serves.
    """

    def __init__(self, endpoint: Endpoint, task: Task, *, max_deferred: int = MAX_DEFERRED) -> None:
        self.endpoint = endpoint
        self.task = task
        self.long_results = LongResults()
        self.connections: dict[int, Connection] = {}
        self._provided: list[ProvidedInterface] = []
        self._signals: list[tuple[int, Callable[[int], None]]] = [(DEATH_SIGNALS, self._died)]
        self._other_signals: Callable[[int], None] | None = None
        self._stranger: Stranger | None = None
        self.alarm: Alarm | None = None
        self._spare_replies = list(task.environment.spare_replies)
        self.owed = Owed(max_deferred, self._clients)
        self._lock = threading.Lock()
        self.takes_capabilities = False
        self.stopping = False
        self.changes = array("Q", (0,))
        self._change_numbers = itertools.count(1)  # of which each is taken once, whatever threads do

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
        table = bind(interface.interface_methods, implementation, self.long_results.keep, lambda: keeper_of(self.task))
        takes = any(entry.method.capability is not None for entry in table.values())
        provided = ProvidedInterface(interface, table)
        for badge, client in (clients or {}).items():
            if badge in self.connections or not 0 <= badge < SIGNAL_BADGE:
                raise ValueError(f"badge {badge} of client {client} is taken already, or not below 2**63")
            self.connections[badge] = Connection(provided, Caller(badge, client, name))
        self._provided.append(provided)
        self.takes_capabilities = self.takes_capabilities or takes
        self.changes[0] = next(self._change_numbers)

    def add_client(self, badge: int, client: str, interface: type[Interface]) -> None:
        """Name one more client of an interface that is provided already. Raises ValueError, LookupError."""
        for provided in self._provided:
            if provided.interface is interface:
                if badge in self.connections:
                    raise ValueError(f"badge {badge} is {self.connections[badge].caller.name} already")
                self.connections[badge] = Connection(provided, Caller(badge, client))
                return
        raise LookupError(f"{interface.__name__} is not provided here: provide() it first")

    def remove_client(self, badge: int) -> None:
        """Forget a client; what it sends from now on is answered as a stranger's."""
        self.connections.pop(badge, None)
        self.long_results.forget(badge)

    def allow_deferred(self, most: int) -> None:
        """Owe so many replies at one time at most, to whomever: for who bounds them by client itself."""
        self.owed.allow(most)

    def _clients(self) -> set[str]:
        return {each.caller.name for each in tuple(self.connections.values())}

    def on_signal(self, bits: int, handler: Callable[[int], None]) -> None:
        """Call ``handler(bits that were set)`` on signals in ``bits``; 0 takes all that nobody else takes."""
        if bits:
            self._signals.append((bits, handler))
        else:
            self._other_signals = handler

    def on_stranger(self, handler: Stranger) -> None:
        """Call ``handler(badge, label, words)`` for messages whose badge is no client's: faults of other threads.

        What it returns (info, MR0..MR3) is sent as the reply; with None there is none, and the next receive lets the
        sender go. Its exceptions are answered and logged as a method's are.
        """
        self._stranger = handler

    def stop(self) -> None:
        """End `serve` after the request that runs now (or the next event, for threads that wait)."""
        self.stopping = True
        self.changes[0] = next(self._change_numbers)

    def serve(self, reply: Reply, *, to_the_end: bool = False) -> None:
        """Answer until `stop`. ``reply`` is this thread's reply object. ``to_the_end``: the process ends then."""
        ServerLoop(self, reply.cptr).run(to_the_end)

    def _died(self, bits: int) -> None:
        self.task.deaths.signalled(bits)

    # --- what the loops use ------------------------------------------------------------------------------------

    @property
    def stranger(self) -> Stranger | None:
        """Who answers messages whose badge is no client's."""
        return self._stranger

    def connection(self, badge: int) -> Connection | None:
        """What a badge stands for; None if `on_stranger` has somebody for it.

        Raises:
            InvalidMessage: it stands for nothing here.
        """
        found = self.connections.get(badge)
        if found is not None or self._stranger is not None:
            return found
        if len(self._provided) == 1:
            return Connection(self._provided[0], Caller(badge, f"#{badge}"))
        raise InvalidMessage(f"badge {badge} is no client of this server: it was not told which interface is meant")

    def take_reply(self) -> int:
        """A reply object for the loop, in the place of one that is handed out. Raises NotEnoughMemory, OutOfSlots."""
        with self._lock:
            return self._spare_replies.pop() if self._spare_replies else self.task.new_reply().cptr

    def give_back_reply(self, reply: int) -> None:
        """A handed-out reply object whose caller has been answered."""
        with self._lock:
            self._spare_replies.append(reply)

    def signalled(self, badge: int) -> None:
        """Run the handlers of a signal. Their exceptions are logged: a bad interrupt must not end the server."""
        bits = badge & ~SIGNAL_BADGE
        if bits & (HEARTBEAT_SIGNAL | STOP_SIGNAL):
            bits = self._supervised(bits)
        for mask, handler in self._signals:
            if bits & mask:
                _guarded(handler, bits & mask)
            bits &= ~mask
        if bits and self._other_signals is not None:
            _guarded(self._other_signals, bits)
        elif bits:
            _log.warning("signal %#x has no handler: decorate a method with @on_notification", bits)

    def _supervised(self, bits: int) -> int:
        """What the task's supervisor wants of it; returns the other bits. Where the loop turns, the task serves."""
        pulse = self.task.environment.pulse
        if bits & HEARTBEAT_SIGNAL and pulse:
            Notification(pulse).signal()
        if bits & STOP_SIGNAL:
            _log.info("asked to stop")
            self.stop()
        return bits & ~(HEARTBEAT_SIGNAL | STOP_SIGNAL)


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
