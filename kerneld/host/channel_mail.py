"""What one process's keeper is told of channels: pages, their ends, and receivers that have died.

Other tasks cause these messages, by connecting and disconnecting as often as they like; so they must neither fill the
process's control socket nor pile up here. At most WINDOW of them are on their way without an answer. Those that wait
are taken back when the channel ends: what was never sent need not be closed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from kerneld.host.control import Answer, ControlSocket
from libsel4py.abi import ChannelRole

WINDOW: Final = 32
MOST_WAITING: Final = 1024  # a keeper that leaves so many waiting is not told of further channels


@dataclass(frozen=True, slots=True)
class Handing:
    """A page for a thread (the keeper's number) of the process. ``listener``: its number, 0 where it has none."""

    thread: int
    channel: int
    role: ChannelRole
    badge: int
    listener: int


@dataclass(frozen=True, slots=True)
class _Letter:
    thread: int
    channel: int
    is_close: bool
    send: Callable[[Answer], None]
    failed: Callable[[], None]


class ChannelMail:
    """One process's. `failed`, of a call, is called when the message could not be sent, or was answered by an error."""

    def __init__(self, control: ControlSocket) -> None:
        self._control = control
        self._unanswered = 0
        self._waiting: deque[_Letter] = deque()
        self._handed: set[tuple[int, int]] = set()  # pages that were sent and not closed: thread, channel

    def __len__(self) -> int:
        """Messages that wait to be sent."""
        return len(self._waiting)

    def open(self, handing: Handing, descriptor: Callable[[], int], failed: Callable[[], None]) -> None:
        """Hand a page over. ``descriptor`` is asked when the message is sent."""

        def send(answer: Answer) -> None:
            words = (handing.channel, handing.role, handing.badge, handing.listener)
            self._control.channel(handing.thread, words, descriptor(), answer)
            self._handed.add((handing.thread, handing.channel))

        self._add(_Letter(handing.thread, handing.channel, False, send, failed))

    def receiver_died(self, thread: int, channel: int, listener: int, failed: Callable[[], None]) -> None:
        """Tell a client that a receiver has ended."""

        send = partial(self._control.receiver_died, thread, channel, listener)
        self._add(_Letter(thread, channel, False, send, failed))

    def close(self, thread: int, channel: int) -> None:
        """The channel is no more for the thread; what it has not been told of it yet is not told."""
        self._waiting = deque(
            each for each in self._waiting if each.is_close or (each.thread, each.channel) != (thread, channel)
        )
        if (thread, channel) in self._handed:
            self._handed.discard((thread, channel))
            send = partial(self._control.channel_close, thread, channel)
            self._post(_Letter(thread, channel, True, send, _nothing))

    def _add(self, letter: _Letter) -> None:
        if len(self._waiting) >= MOST_WAITING:
            letter.failed()
        else:
            self._post(letter)

    def _post(self, letter: _Letter) -> None:
        self._waiting.append(letter)
        self._send()

    def _send(self) -> None:
        while self._waiting and self._unanswered < WINDOW:
            letter = self._waiting.popleft()
            try:
                letter.send(partial(self._answered, letter))
            except OSError:  # no more descriptors can be on their way to processes
                letter.failed()
            else:
                self._unanswered += 1

    def _answered(self, letter: _Letter, error: int, *_: int) -> None:
        self._unanswered -= 1
        if error:
            letter.failed()
        self._send()


def _nothing() -> None:
    """A page that could not be closed is no more than zeroes all the same."""
