"""What is asked of the network without a socket: names and echoes.

Rules: a client has at most `MOST_OF_ONE` questions that are not answered, all together `MOST`. None waits for ever,
whatever its client says, who may have ended: the stack gives names up, and an echo is waited for `MOST_PING_SECONDS`.
A name counts for as long as the stack asks for it, also when its client has been told that its time is over: the stack
forgets none before, and has room for twice `MOST`.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from libsel4py.context import DEFER, ReplyToken
from libsel4py.interfaces.network import BadAddress, NameServerFailed, NetworkError, TooManySockets
from servers.network.rules import address
from servers.network.turns import Turns

if TYPE_CHECKING:
    from servers.network.protocols import SocketStack

MOST_OF_ONE: Final = 8
MOST: Final = 32
MOST_NAME_BYTES: Final = 253
MOST_LABEL_BYTES: Final = 63  # between two dots: a question has no room for more
MOST_PING_BYTES: Final = 1400
MOST_PING_SECONDS: Final = 60.0
LATE: Final = -1


class Questions:
    """Asks the stack, and answers who asked."""

    def __init__(self, stack: SocketStack, turns: Turns) -> None:
        self._stack = stack
        self._turns = turns
        self._open: Counter[str] = Counter()

    def lookup(self, owner: str, name: str, until: float | None, defer: Callable[[], ReplyToken]) -> list[str]:
        """Addresses of a name; the caller waits. Raises BadAddress, TooManySockets."""
        try:
            return [str(address(name))]
        except BadAddress:
            if not name or len(name.encode()) > MOST_NAME_BYTES or not name.isascii() or "\0" in name:
                raise BadAddress(f"a name has 1 to {MOST_NAME_BYTES} ASCII letters") from None
            if not all(0 < len(label) <= MOST_LABEL_BYTES for label in name.removesuffix(".").split(".")):
                raise BadAddress(f"a name has 1 to {MOST_LABEL_BYTES} letters between two dots") from None
        self._ensure_room(owner)
        question = self._question(until, defer, NameServerFailed(f"no answer for {name!r} in time"), lambda: None)

        def answered(found: list[str] | NetworkError) -> None:
            self._ended(owner)
            question.answer(found)

        self._open[owner] += 1
        self._stack.resolve(name, answered)
        self._turns.turn()
        return DEFER

    def ping(self, owner: str, host: str, size: int, until: float | None, defer: Callable[[], ReplyToken]) -> int:
        """Nanoseconds until the echo came; the caller waits. Raises BadAddress, Unreachable, TooManySockets."""
        if not 0 <= size <= MOST_PING_BYTES:
            raise BadAddress(f"an echo request has 0 to {MOST_PING_BYTES} bytes, and not {size}")
        self._ensure_room(owner)
        longest = time.monotonic() + MOST_PING_SECONDS
        first = longest if until is None else min(until, longest)
        question = self._question(first, defer, LATE, lambda: self._ended(owner))
        self._open[owner] += 1
        began = time.monotonic_ns()
        try:
            question.forget = self._stack.ping(host, size, lambda: question.answer(time.monotonic_ns() - began))
        except NetworkError as error:
            question.answer(error)
        self._turns.turn()
        return DEFER

    def _ensure_room(self, owner: str) -> None:
        if self._open[owner] >= MOST_OF_ONE or self._open.total() >= MOST:
            raise TooManySockets(f"{owner} waits for {self._open[owner]} answers already")

    def _question(
        self, until: float | None, defer: Callable[[], ReplyToken], late: object, ended: Callable[[], None]
    ) -> Question:
        question = Question(defer(), ended)
        if until is not None:
            timer = self._turns.timers.at(until, lambda: question.answer(late))
            question.cancel = lambda: self._turns.timers.cancel(timer)
        return question

    def _ended(self, owner: str) -> None:
        self._open[owner] -= 1
        if not self._open[owner]:
            del self._open[owner]


class Question:
    """One. It is answered once; what comes later is dropped.

    Attributes:
        forget: tells the stack that nobody waits any more. cancel: ends its time limit.
    """

    def __init__(self, token: ReplyToken, ended: Callable[[], None]) -> None:
        self._token: ReplyToken | None = token
        self._ended = ended
        self.forget: Callable[[], None] = lambda: None
        self.cancel: Callable[[], None] = lambda: None

    def answer(self, value: object) -> None:
        """Answer it with a value, or with an error."""
        token, self._token = self._token, None
        if token is None:
            return
        self.cancel()
        self.forget()
        self._ended()
        if isinstance(value, Exception):
            token.fail(value)
        else:
            token.complete(value)
