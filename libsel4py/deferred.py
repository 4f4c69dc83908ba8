"""A reply that is owed: its caller waits in a reply object that was taken out of the server loop, or at its channel.

Rules: it is completed exactly once; a second completion is a bug in the server and raises. If a reply cannot be
packed, the caller gets that failure instead of waiting for ever.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from libsel4py.abi import Syscall
from libsel4py.context import Caller, per_thread
from libsel4py.dispatch import Entry
from libsel4py.errors import InvalidMessage
from libsel4py.keeper import current
from libsel4py.lowlevel.machine import Answer, Words
from libsel4py.lowlevel.syscalls import FOREVER_NS, machine
from libsel4py.wire import as_words, put_failure


class _Completing:
    """The serving context while a token is completed: long results are kept for the token's caller."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller

    def defer(self) -> Deferred:
        raise RuntimeError("a reply that is being completed cannot be deferred again")


class WayBack(Protocol):
    """By what a caller is answered, once."""

    def send(self, words: Words) -> None: ...


@dataclass(frozen=True, slots=True)
class ByReply:
    """A reply object, which can be used again afterwards."""

    reply: int
    give_back: Callable[[], None]

    def send(self, words: Words) -> None:
        machine.trap(Syscall.SEND, self.reply, *words, 0, 0, FOREVER_NS)
        self.give_back()


@dataclass(frozen=True, slots=True)
class ByChannel:
    """A request that came by channel and was detached."""

    handle: int
    done: Callable[[], None]

    def send(self, words: Words) -> None:
        machine.answer(self.handle, *words)
        self.done()


class Deferred:
    """See `libsel4py.context.ReplyToken`."""

    def __init__(self, way_back: WayBack, entry: Entry, caller: Caller) -> None:
        self._way_back = way_back
        self._entry = entry
        self._caller = caller
        self._request = current.request
        if self._request is not None:
            self._request.deferred = self
        self._done = False
        self._lock = threading.Lock()

    @property
    def caller(self) -> Caller:
        return self._caller

    def complete(self, value: Any = None) -> None:
        """Answer with what the method would have returned.

        Raises:
            RuntimeError: it has been answered already.
            TypeError, ValueError, MessageTooLong: the value does not fit the method's result; the client is told.
        """
        self._finish()
        former, per_thread.serving = per_thread.serving, _Completing(self._caller)
        try:
            answer = self._entry.pack(value)
            if self._request is not None:
                self._request.complete(answer)
            self._way_back.send(as_words(answer))
        except Exception as error:
            self._fail(error)
            raise
        finally:
            per_thread.serving = former

    def relay(self, answer: Answer) -> None:
        """Answer with what another request of this method was answered. Raises RuntimeError, as `complete`."""
        self._finish()
        self._way_back.send(as_words(answer))

    def hand_over(self, heir: Deferred) -> bool:
        """Owe this reply to the caller of ``heir`` from now on, who has sent the request again; its own is refused.

        Returns:
            Whether that was possible: it was not answered yet.
        """
        with self._lock:
            if self._done:
                return False
            self._way_back, heir._way_back = heir._way_back, self._way_back
        heir.fail(InvalidMessage(f"{self._entry.method.full_name}: this request was sent again, and is answered there"))
        return True

    def fail(self, error: Exception) -> None:
        """Answer with an exception. Raises RuntimeError if it has been answered already."""
        self._finish()
        self._fail(error)

    def _fail(self, error: Exception) -> None:
        try:
            if self._request is not None:
                self._request.fail(error)
        finally:
            self._way_back.send(put_failure(error, self._entry.method.raises))

    def fail_unless_done(self, error: Exception) -> None:
        """For the loop: the method raised after it had deferred."""
        if not self._done:
            self.fail(error)

    def _finish(self) -> None:
        with self._lock:
            if self._done:
                raise RuntimeError(f"{self._entry.method.full_name} for {self._caller.name} is answered already")
            self._done = True
