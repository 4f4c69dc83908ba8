"""The lock of one open file: shared by many handles, or exclusive of one (flock(2)).

Rules: who waits is served in order, so that readers cannot keep a writer out for ever. A handle waits once: who asks
again takes its own place. A lock never goes to a handle whose session is over, and never stays with one: that is looked
at whenever somebody would have to wait.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from libsel4py.context import ReplyToken
from libsel4py.interfaces.file import Locked

MOST_WAITING: Final = 16  # for one file


class Holder(Protocol):
    """Who may have the lock: a handle."""

    def is_alive(self) -> bool: ...


@dataclass(slots=True)
class _Waiter:
    holder: Holder
    exclusive: bool
    token: ReplyToken


class FileLock:
    """Who has the lock, and who waits. ``granted`` is called with each mode that somebody new has it in."""

    def __init__(self, granted: Callable[[bool], None] = lambda exclusive: None) -> None:
        self._granted = granted
        self._held: dict[Holder, bool] = {}  # whether exclusively
        self._waiting: deque[_Waiter] = deque()

    def try_take(self, holder: Holder, exclusive: bool) -> bool:
        """Take it now if nobody is in the way and nobody waits; a handle may change its mode so."""
        if self._held.get(holder) is exclusive:
            return True
        self._drop_dead()
        if self._waiting or not self._is_free(holder, exclusive):
            return False
        self._held[holder] = exclusive
        self._granted(exclusive)
        return True

    def reclaim(self, holder: Holder, exclusive: bool) -> bool:
        """Give it to who had it in a former life of the server, if nobody is in the way now."""
        self._drop_dead()
        if not self._is_free(holder, exclusive):
            return False
        self._held[holder] = exclusive
        return True

    def wait(self, holder: Holder, exclusive: bool, defer: Callable[[], ReplyToken]) -> None:
        """Give up what the holder has, and let its caller wait for the lock.

        Raises Locked: too many wait; and what ``defer`` raises. Then the holder has no lock.
        """
        mine = next((each for each in self._waiting if each.holder is holder), None)
        if mine is None and len(self._waiting) >= MOST_WAITING:
            raise Locked(f"{MOST_WAITING} wait for this file already")
        token = defer()
        self._held.pop(holder, None)
        if mine is None:
            self._waiting.append(_Waiter(holder, exclusive, token))
        else:
            former, mine.token, mine.exclusive = mine.token, token, exclusive
            former.fail(Locked("this handle has asked for its lock again"))
        self._serve()

    def release(self, holder: Holder) -> None:
        """Give it up, or stop to wait; nothing happens if the holder does neither."""
        self._held.pop(holder, None)
        for each in [each for each in self._waiting if each.holder is holder]:
            self._waiting.remove(each)
            each.token.fail(Locked("the handle was closed or unlocked meanwhile"))
        self._serve()

    def _serve(self) -> None:
        while self._waiting:
            first = self._waiting[0]
            if not first.holder.is_alive():
                self._waiting.popleft()
                first.token.fail(Locked("the session is over"))
                continue
            if not self._is_free(first.holder, first.exclusive):
                return
            self._waiting.popleft()
            self._held[first.holder] = first.exclusive
            self._granted(first.exclusive)
            first.token.complete()

    def _is_free(self, holder: Holder, exclusive: bool) -> bool:
        others = [mode for each, mode in self._held.items() if each is not holder]
        return not any(others) and not (exclusive and others)

    def _drop_dead(self) -> None:
        """Those who have it, and those who wait: behind these nobody else need wait."""
        for holder in [each for each in self._held if not each.is_alive()]:
            del self._held[holder]
        for each in [each for each in self._waiting if not each.holder.is_alive()]:
            self._waiting.remove(each)
            each.token.fail(Locked("the session is over"))
        self._serve()
