"""One turn of the server's work: let the stack do what is due, let those go on who waited for it, send what is to send.

Rules: a turn follows everything that may have changed the stack: a frame, a client's request, the clock. It is bounded;
what is left is done by the next, which the clock is set for at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from libsel4py.context import DEFER, ReplyToken
from servers.network.sockets import NOT_YET, Attempt, NetSocket
from servers.network.timers import Timers

if TYPE_CHECKING:
    from servers.network.protocols import SocketStack

MOST_ROUNDS: Final = 16
MOST_LIMIT_NS: Final = 1 << 62  # a longer time limit is none


class Turns:
    """Attributes: ``stack``; ``timers``; ``flush``, which sends what the stack has put out; ``set_clock``, which is
    told the moment (`time.monotonic`) of the next turn that has to come by itself."""

    def __init__(
        self,
        stack: SocketStack,
        timers: Timers,
        flush: Callable[[], None] = lambda: None,
        set_clock: Callable[[float | None], None] = lambda moment: None,
    ) -> None:
        self.stack = stack
        self.timers = timers
        self.flush = flush
        self.set_clock = set_clock
        self._dirty: dict[NetSocket, None] = {}

    def changed(self, sock: NetSocket) -> None:
        """The stack says that something happened at a socket."""
        self._dirty[sock] = None

    def dropped(self, sock: NetSocket) -> None:
        """A socket ends."""
        self._dirty.pop(sock, None)

    def turn(self) -> None:
        """Do what is to do now."""
        timers = self.timers
        for _ in range(MOST_ROUNDS):
            wait = self.stack.poll()
            first = timers.next()
            if first is not None and first <= time.monotonic():
                timers.run(time.monotonic())
            if not self._dirty:
                break
            dirty, self._dirty = self._dirty, {}
            for sock in dirty:
                sock.changed(timers)
        else:
            wait = 0.0
        self.flush()
        first = timers.next()
        if wait is not None:
            due = time.monotonic() + wait
            first = due if first is None else min(first, due)
        self.set_clock(first)


def moment(time_limit: int) -> float | None:
    """When a time limit is over, by `time.monotonic`; None for never."""
    return None if time_limit < 0 or time_limit >= MOST_LIMIT_NS else time.monotonic() + time_limit / 1e9


def wait_for(
    sock: NetSocket,
    attempt: Attempt,
    late: Attempt,
    time_limit: int,
    turns: Turns,
    defer: Callable[[], ReplyToken],
) -> object:
    """What an attempt gives now, or its caller waits until it gives something."""
    value = attempt()
    if value is NOT_YET:
        if not time_limit:
            turns.turn()
            return late()
        sock.session.ensure_may_wait()
        sock.make_waiter(defer(), attempt, late, moment(time_limit), turns.timers)
        value = DEFER
    turns.turn()
    return value
