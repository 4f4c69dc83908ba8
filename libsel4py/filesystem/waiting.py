"""Replies that are owed to who waits for locks: counted, so that one client cannot have them all.

A client need not wait to be owed a reply: it can send its request and go on. So they are counted here until answered.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final

from libsel4py.context import Caller, ReplyToken
from libsel4py.errors import NotEnoughMemory, TooManyDeferred
from libsel4py.interfaces.file import Locked
from libsel4py.lowlevel.cspace import OutOfSlots

MOST_OF_A_CLIENT: Final = 16


class Waiting:
    """Defers replies. ``defer`` is the component's."""

    def __init__(self, defer: Callable[[], ReplyToken]) -> None:
        self._defer = defer
        self._count: Counter[str] = Counter()

    def defer(self, client: str) -> ReplyToken:
        """Owe this client one more. Raises Locked: it is owed as many as it may, or the server owes too many."""
        if self._count[client] >= MOST_OF_A_CLIENT:
            raise Locked(f"{client} waits for {MOST_OF_A_CLIENT} locks already")
        try:
            token = self._defer()
        except (TooManyDeferred, NotEnoughMemory, OutOfSlots) as error:
            raise Locked(f"nobody more can wait now: {error}") from error
        self._count[client] += 1
        return Counted(token, lambda: self._answered(client))

    def _answered(self, client: str) -> None:
        self._count[client] -= 1
        if not self._count[client]:
            del self._count[client]


class Counted:
    """A reply token that says when it was used (`context.ReplyToken`)."""

    def __init__(self, token: ReplyToken, answered: Callable[[], None]) -> None:
        self._token = token
        self._answered = answered

    @property
    def caller(self) -> Caller:
        return self._token.caller

    def complete(self, value: object = None) -> None:
        self._answered()
        self._token.complete(value)

    def fail(self, error: Exception) -> None:
        self._answered()
        self._token.fail(error)
