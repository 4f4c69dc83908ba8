"""What one process's keeper is told of channels: pages, their ends, and receivers that have died.

Other tasks cause these messages, by connecting and disconnecting as often as they like; so they must neither fill the
process's control socket nor pile up here. At most WINDOW of them are on their way without an answer. Those that wait
are taken back when the channel ends: what was never sent need not be closed. The ends of several channels of a thread
travel together, once CLOSE_WINDOW messages of ends are on their way.

While anything waits the process *owes*, as in map_mail.py: a kernel that is started again tells such a keeper of all
its channels again, and has it look which are no more.

A page that others keep is *taken back* from a thread in the same way. It has stored its last word there once its keeper
says so, or once its process is gone.
"""

from __future__ import annotations

import errno
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Final, TypeAlias

from kerneld.host.control import Answer, ControlSocket
from libsel4py.abi import CONTROL_CLOSED_TOGETHER, ChannelRole

WINDOW: Final = 32
CLOSE_WINDOW: Final = 2
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
    send: Callable[[Answer], None]
    failed: Callable[[], None]
    done: Callable[[], None] = lambda: None


@dataclass(frozen=True, slots=True)
class _TakenBack:
    """What is done once the thread has the page no more, and where that cannot be."""

    done: Callable[[], None]
    failed: Callable[[], None]


_Ends: TypeAlias = dict[int, _TakenBack | None]  # by channel; None where the channel is no more for anybody


class ChannelMail:
    """One process's. `failed`, of a call, is called when the message could not be sent, or was answered by an error."""

    def __init__(self, control: ControlSocket, owes: Callable[[bool], None] = lambda owes: None) -> None:
        self._control = control
        self._owes = owes
        self._owing = False
        self._unanswered = 0
        self._waiting: deque[_Letter] = deque()
        self._waiting_for: Counter[tuple[int, int]] = Counter()  # how many of these are of a thread and channel
        self._handed: set[tuple[int, int]] = set()  # pages that were sent and not closed: thread, channel
        self._closing: dict[int, _Ends] = {}  # by thread: what it has not been told of
        self._told: list[_Ends] = []  # messages of ends that are not answered

    def __len__(self) -> int:
        """Messages that wait to be sent, counting each end."""
        return len(self._waiting) + sum(map(len, self._closing.values()))

    @property
    def tells_ends(self) -> bool:
        """Whether the keeper has been told of ends that it has not answered."""
        return bool(self._told)

    def open(self, handing: Handing, descriptor: Callable[[], int], failed: Callable[[], None]) -> None:
        """Hand a page over. ``descriptor`` is asked when the message is sent."""

        def send(answer: Answer) -> None:
            words = (handing.channel, handing.role, handing.badge, handing.listener)
            self._control.channel(handing.thread, words, descriptor(), answer)
            self._handed.add((handing.thread, handing.channel))

        self._add(_Letter(handing.thread, handing.channel, send, failed))

    def was_handed(self, thread: int, channel: int) -> None:
        """A kernel before this one has sent the page to the thread."""
        self._handed.add((thread, channel))

    def look(self) -> None:
        """Have the keeper look which channels are no more."""
        self._add(_Letter(0, 0, self._control.channels_look, lambda: None))

    def receiver_died(
        self,
        thread: int,
        channel: int,
        listener: int,
        failed: Callable[[], None],
        done: Callable[[], None] = lambda: None,
    ) -> None:
        """Tell a client that a receiver has ended. `done`: it knows."""
        send = partial(self._control.receiver_died, thread, channel, listener)
        self._add(_Letter(thread, channel, send, failed, done))

    def close(self, thread: int, channels: Iterable[int]) -> None:
        """These channels are no more for the thread; what it has not been told of them yet is not told."""
        for channel in channels:
            self._end(thread, channel, None)
        self._send()

    def take_back(self, thread: int, channel: int, done: Callable[[], None], failed: Callable[[], None]) -> None:
        """Take a page that stays others' away from a thread. `done` is called once the thread has it no more."""
        if self._end(thread, channel, _TakenBack(done, failed)):
            self._send()
        else:
            done()

    def process_gone(self) -> None:
        """No answer comes any more, and nobody in the process has a page."""
        ends = [*self._told, *self._closing.values()]
        self._told, self._closing = [], {}
        for end in ends:
            _settle(end, 0)

    def _end(self, thread: int, channel: int, end: _TakenBack | None) -> bool:
        """Have it told with what is sent next. False if the thread was not handed the page."""
        if self._waiting_for.pop((thread, channel), 0):
            self._waiting = deque(each for each in self._waiting if (each.thread, each.channel) != (thread, channel))
        if (thread, channel) not in self._handed:
            return False
        self._handed.discard((thread, channel))
        self._closing.setdefault(thread, {})[channel] = end
        return True

    def _add(self, letter: _Letter) -> None:
        if len(self._waiting) >= MOST_WAITING:
            letter.failed()
            return
        self._waiting.append(letter)
        self._waiting_for[letter.thread, letter.channel] += 1
        self._send()

    def _send(self) -> None:
        while self._unanswered < WINDOW:
            if self._closing and len(self._told) < CLOSE_WINDOW:
                self._send_ends(next(iter(self._closing)))
            elif not self._waiting:
                break
            elif self._waiting[0].channel in self._closing.get(self._waiting[0].thread, ()):
                # The end of one that had this number before comes first.
                self._send_ends(self._waiting[0].thread)
            else:
                self._send_letter(self._waiting.popleft())
        owing = bool(self._waiting or self._closing)
        if owing != self._owing:
            self._owing = owing
            self._owes(owing)

    def _send_letter(self, letter: _Letter) -> None:
        self._waiting_for[letter.thread, letter.channel] -= 1
        if not self._waiting_for[letter.thread, letter.channel]:
            del self._waiting_for[letter.thread, letter.channel]
        try:
            letter.send(partial(self._answered, letter))
        except OSError:  # no more descriptors can be on their way to processes
            letter.failed()
        else:
            self._unanswered += 1

    def _send_ends(self, thread: int) -> None:
        """Tell a thread of the first ends that it has not been told of."""
        ends = self._closing[thread]
        some = {channel: ends.pop(channel) for channel in list(islice(ends, CONTROL_CLOSED_TOGETHER))}
        if not ends:
            del self._closing[thread]
        self._told.append(some)
        self._unanswered += 1
        self._control.channel_close(thread, tuple(some), partial(self._closed, some))

    def _closed(self, ends: _Ends, error: int, *_: int) -> None:
        self._told = [each for each in self._told if each is not ends]
        self._unanswered -= 1
        _settle(ends, error)
        self._send()

    def _answered(self, letter: _Letter, error: int, *_: int) -> None:
        self._unanswered -= 1
        if error:
            letter.failed()
        else:
            letter.done()
        self._send()


def _settle(ends: _Ends, error: int) -> None:
    """The keeper's answer. A page that is no more for anybody, and could not be closed, is all zeroes all the same."""
    for end in ends.values():
        if end is not None:
            (end.done if error in (0, errno.ESRCH) else end.failed)()  # ESRCH: the thread had it no more
