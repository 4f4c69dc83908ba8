"""What one process's keeper is told of memory: what is mapped where, and what is mapped no more.

Other tasks cause these messages, by mapping as often as they like; so they must neither fill the process's control
socket nor pile up here. At most WINDOW of them are on their way without an answer, and none before the process runs.
Of some mappings in a row the last alone is answered where they work, and stands for all of them.
Of those that wait, the last of an address counts, and what was never mapped need not be unmapped: so no more wait than
the process has mappings.

`MAPPINGS_TOLD` counts what was sent. A thread whose access faults waits until its keeper has done as many.

What was sent, the keeper gets, whatever becomes of this process. What waits is lost with it, and so the process *owes*
while anything does: a kernel that is started again has such a keeper begin anew (`start_over`).
"""

from __future__ import annotations

import asyncio
import errno
import os
from array import array
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Final, NamedTuple

from kerneld.host.control import QUIET, ROOM, SENT, THREADS, ControlSocket
from libsel4py import abi

WINDOW: Final = 64
# Mapping in a row: while it is obeyed there is room for as many more. As in _fastpath/hand.c.
ANSWERED_EVERY: Final = WINDOW // 2
RETRY_S: Final = 0.01  # when as many descriptors are on their way to processes as the host allows

Place = tuple[int, int]  # address, bytes


class Handed(NamedTuple):
    """A descriptor to send. ``opened``: for this alone; it is closed afterwards."""

    descriptor: int
    opened: bool


@dataclass(frozen=True, slots=True)
class _Map:
    rights: int
    hand: Callable[[], Handed]


@dataclass(frozen=True, slots=True)
class _Unmap:
    done: tuple[Callable[[], None], ...]


class MapMail:
    """One process's.

    Args:
        told: is called after each message with how many were sent.
        refused: the process cannot be given what it holds; told why.
        owes: is called when something waits, and when nothing does any more.
    """

    def __init__(
        self,
        control: ControlSocket,
        loop: asyncio.AbstractEventLoop,
        told: Callable[[int], None],
        refused: Callable[[str], None],
        owes: Callable[[bool], None] = lambda owes: None,
    ) -> None:
        self._control = control
        self._loop = loop
        self._told = told
        self._refused = refused
        self._owes = owes
        self._owing = False
        self._waiting: OrderedDict[Place, _Map | _Unmap] = OrderedDict()
        self._there: dict[int, int] = {}  # bytes, by address, of what was sent to be mapped
        self._unanswered: dict[int, _Unmap | None] = {}
        self._quiet = 0  # mappings in a row that were to be answered by the next one's answer
        self._sent = 0
        self._is_alone = False  # one message at a time: the process may have many of a kernel before this one
        self._opened = self._closed = False
        self._retry: asyncio.TimerHandle | None = None
        self._when_sent: list[Callable[[], None]] = []
        self._more_to_come = False

    def __len__(self) -> int:
        """Messages that wait to be sent."""
        return len(self._waiting)

    @property
    def sent(self) -> int:
        """Messages that were sent."""
        return self._sent

    @property
    def more_to_come(self) -> bool:
        """Whether the process was not told yet of all that it has."""
        return self._more_to_come

    @more_to_come.setter
    def more_to_come(self, more: bool) -> None:
        self.disarm()
        self._more_to_come = more
        self._look_owing()

    def go_on_from(self, sent: int) -> None:
        """So many messages were sent by the kernel before this one, or one more."""
        self._sent = sent

    # --- the fast path's sending

    def arm(self, threads: Iterable[tuple[int, int]]) -> None:
        """Nothing waits to be sent: let the fast path send mappings and tell threads, until anything else is to be.

        ``threads``: the physical addresses of the trap frame and the TCB of each.
        """
        words = self._control.words
        words[QUIET], words[SENT] = self._quiet, self._sent
        words[THREADS:] = array("Q", chain.from_iterable(threads))
        words[ROOM] = WINDOW - len(self._unanswered)

    def disarm(self) -> None:
        """The fast path sends nothing: there may be other threads, or something that waits."""
        self._control.words[ROOM] = 0

    def note_sent(self, address: int, size: int, sequence: int) -> None:
        """The fast path has sent this mapping, with this number, and told of it: the first that is not noted yet."""
        quiet = self._quiet + 1 < ANSWERED_EVERY
        self._sent = number = self._sent + 1
        self._control.mapped(sequence, partial(self._mapped, number, address), quiet)
        self._quiet = self._quiet + 1 if quiet else 0
        self._there[address] = size
        self._unanswered[number] = None

    # --- sending

    def start_over(self, done: Callable[[], None] | None = None) -> None:
        """Nothing that is between the bounds of what the kernel maps is mapped any more. `done`: as of `unmap`.

        Nothing else is sent before the process has said so: one that is stopped while kernel after kernel ends has got
        one message more of each. The next number is left out: the kernel before this one may have sent a mapping by it
        to a thread and told nobody. Were it told of this message, the thread would lay the mapping beside or behind it.
        """
        self._sent += 1
        self._there.clear()
        size = abi.MAPPING_END - abi.MAPPING_BASE
        self._there[abi.MAPPING_BASE] = size
        self._is_alone = True
        self.unmap(abi.MAPPING_BASE, size, done)

    def ask_whether_done(self, address: int, size: int, done: Callable[[], None]) -> None:
        """Call `done` when the keeper has obeyed all that was sent before, by a kernel before this one too.

        It is told to end what is mapped at an address where nothing is.
        """
        self._there[address] = size
        self.unmap(address, size, done)

    def try_map(self, address: int, size: int, rights: int, descriptor: int) -> bool:
        """Map memory, over what may be there, where nothing waits to be sent. The descriptor stays the caller's.

        False, and nothing was done, where it has to wait: `map`.
        """
        if self._waiting or self._more_to_come or self._when_sent or self._closed or not self._may_send:
            return False
        try:
            self._send_map(address, size, rights, descriptor)
        except OSError:  # the longer way says what becomes of it
            return False
        return True

    def map(self, address: int, size: int, rights: int, hand: Callable[[], Handed]) -> None:
        """Map memory, over what may be there. ``hand`` is asked for the descriptor when the message is sent."""
        if self._closed:
            return
        self.disarm()
        self._waiting.pop((address, size), None)
        self._waiting[address, size] = _Map(rights, hand)
        self._send()

    def unmap(self, address: int, size: int, done: Callable[[], None] | None = None) -> None:
        """End what is mapped there. `done`: the keeper says that it is, or it was never mapped, or the process ended.

        It is not called where the memory is mapped again before the keeper could be told.
        """
        self.disarm()
        before = self._waiting.pop((address, size), None)
        all_done = (before.done if isinstance(before, _Unmap) else ()) + (() if done is None else (done,))
        if self._there.get(address) == size and not self._closed:
            self._waiting[address, size] = _Unmap(all_done)
            self._send()
        else:
            for each in all_done:
                each()

    def begins_with(self, address: int, size: int) -> None:
        """The process finds this mapped when it starts."""
        self._there[address] = size

    def when_sent(self, then: Callable[[], None]) -> bool:
        """Call `then` once nothing waits to be sent. False, and no call, if that is so now."""
        if self._closed or not (self._waiting or self.more_to_come):
            return False
        self.disarm()
        self._when_sent.append(then)
        return True

    def look(self) -> None:
        """Nothing more is to come for now."""
        self._send()

    def open(self) -> None:
        """The process runs: what waits is sent."""
        self._opened = True
        self._send()

    def close(self) -> None:
        """The process is ended: nothing is sent any more, and nothing of its is mapped as soon as it is gone."""
        if self._closed:
            return
        self._closed = True
        self.disarm()
        if self._retry is not None:
            self._retry.cancel()
        unmaps = [*self._unanswered.values(), *self._waiting.values()]
        self._unanswered.clear()
        self._waiting.clear()
        self._there.clear()
        for unmap in unmaps:
            if isinstance(unmap, _Unmap):
                _call(unmap.done)
        self._call_sent()
        self._look_owing()

    @property
    def _may_send(self) -> bool:
        most = 1 if self._is_alone else WINDOW
        return self._opened and len(self._unanswered) < most and self._retry is None

    def _send(self) -> None:
        while self._waiting and self._may_send:
            place, message = self._waiting.popitem(last=False)
            if not self._try_send(place, message):
                return
        if not self._waiting and not self.more_to_come:
            self._call_sent()
        self._look_owing()

    def _try_send(self, place: Place, message: _Map | _Unmap) -> bool:
        """Send it; or put it before all that waits. False if the process cannot be given it."""
        try:
            self._send_one(place, message)
        except OSError as error:
            if error.errno != errno.ETOOMANYREFS:
                self._refused(f"it could not be handed the memory at {place[0]:#x}: {error.strerror}")
                return False
            self._waiting[place] = message
            self._waiting.move_to_end(place, last=False)
            self._retry = self._loop.call_later(RETRY_S, self._try_again)
        return True

    def _look_owing(self) -> None:
        owing = not self._closed and bool(self._waiting or self._more_to_come)
        if owing != self._owing:
            self._owing = owing
            self._owes(owing)

    def _send_one(self, place: Place, message: _Map | _Unmap) -> None:
        address, size = place
        if isinstance(message, _Map):
            handed = message.hand()
            try:
                self._send_map(address, size, message.rights, handed.descriptor)
            finally:
                if handed.opened:
                    os.close(handed.descriptor)
        else:
            number = self._sent + 1
            self._control.unmap(address, size, number, partial(self._unmapped, number))
            self._quiet = 0
            self._there.pop(address, None)
            self._count(message)

    def _send_map(self, address: int, size: int, rights: int, descriptor: int) -> None:
        quiet = self._quiet + 1 < ANSWERED_EVERY
        number = self._sent + 1
        self._control.map(address, size, rights, descriptor, number, partial(self._mapped, number, address), quiet)
        self._quiet = self._quiet + 1 if quiet else 0
        self._there[address] = size
        self._count(None)

    def _count(self, unmap: _Unmap | None) -> None:
        """One more was sent."""
        if self._closed:
            return  # it has stopped to obey: sending has found that out
        self._sent = number = self._sent + 1
        self._unanswered[number] = unmap
        self._told(number)

    def _try_again(self) -> None:
        self._retry = None
        self._send()

    def _mapped(self, number: int, address: int, error: int, *_: int) -> None:
        self._forget_maps(number)
        if error:
            why = errno.errorcode.get(error, str(error))
            self._refused(f"it did not map the memory that it was handed at {address:#x} ({why})")
        self._send()

    def _unmapped(self, number: int, *_: int) -> None:
        """An error is the process's own trouble: what it was to give back is truncated."""
        unmap = self._unanswered.pop(number, None)
        self._forget_maps(number)
        self._is_alone = False
        if unmap is not None:
            _call(unmap.done)
        self._send()

    def _forget_maps(self, number: int) -> None:
        """The message of this number was answered, and so those before it that map are done."""
        for each in [each for each, unmap in self._unanswered.items() if each <= number and unmap is None]:
            del self._unanswered[each]

    def _call_sent(self) -> None:
        then, self._when_sent = self._when_sent, []
        _call(tuple(then))


def _call(each: tuple[Callable[[], None], ...]) -> None:
    for one in each:
        one()
