"""When to look at whose budget: the alarms that the kernel asks for by `Tell.WATCH`, on one timer of the host.

The event loop's own timers count in milliseconds; a budget of 1 ms would be held to nothing. The timer is a descriptor
of its own (timerfd, microseconds). It is set to the earliest alarm, and where none is asked for nothing runs.

A thread that sleeps as the host knows it (on a channel, a lock, a timer of the host's) may run for all that the kernel
knows. One that has not run until its alarm, nor for a tick of the host's behind it, is not asked about as often as its
budget could be used up any more, which would cost more than the thread ever does: all such are looked at together, so
often that the looks take less than a hundredth of a processor, until one has run. Such a one may have used more than
its budget by then, by as long as it is between two looks at the sleepers; that is taken from its refills to come. One
that has waited for a busy processor looks the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import os
from collections.abc import Callable
from time import thread_time_ns
from typing import Final

from hw.clock import host_microseconds
from kerneld.host.linux import make_timer, set_timer

DOZE_US: Final = 10_000  # a tick of the host's scheduler: a thread's clock may not have gone on before
SLEEPERS_EVERY_US: Final = 40_000  # or more, where sleepers are many
A_SLEEPER_US: Final = 800  # of the time between two looks: a look at one takes some 4, or more on a slow host
LOOKS_SHARE: Final = 200  # looks take one part in so many of a processor
SLOWEST: Final = 4  # times as long as that is between two looks at the most, where they take more
SPARE: Final = 64  # alarms that were put off, and are still in the heap, before it is made anew


class BudgetAlarms:
    """At most one alarm a scheduling context, which is named by its address.

    Args:
        due_us: when to look at a context, in microseconds of the machine's clock.
        look: has the kernel look at it. It may ask for further alarms.
        sleeps: whether the thread on a context may run, and has not since the context was charged.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        due_us: Callable[[int], int],
        look: Callable[[int], None],
        sleeps: Callable[[int], bool] = lambda context: False,
    ) -> None:
        self._loop = loop
        self._due_us = due_us
        self._look = look
        self._sleeps = sleeps
        self._dozing: set[int] = set()  # had not run until their alarm; they have another one
        self._sleepers: dict[int, None] = {}
        self._sleepers_at = 0  # the next look at them
        self._times: dict[int, int] = {}
        self._heap: list[tuple[int, int]] = []  # (time, context); one whose time is not `_times`' was put off
        self._set_to = 0
        self._timer = make_timer()
        loop.add_reader(self._timer, self._rang)

    def __len__(self) -> int:
        return len(self._times) + len(self._sleepers)

    def watch(self, context: int) -> None:
        """Look at it when that is due; an alarm that it has already is put off or moved up."""
        self._wake(context)
        self._put(context, self._due_us(context))

    def look_now(self, context: int) -> None:
        """Look at it in the event loop's next turn: a kernel before this one was asked to."""
        self._wake(context)
        self._put(context, host_microseconds())

    def forget(self, context: int) -> None:
        """It is gone. No harm where it has no alarm."""
        self._wake(context)
        self._times.pop(context, None)

    def close(self) -> None:
        self._loop.remove_reader(self._timer)
        os.close(self._timer)

    def _put(self, context: int, at_us: int) -> None:
        self._times[context] = at_us
        if len(self._heap) > 2 * len(self._times) + SPARE:
            self._heap = [(time, address) for address, time in self._times.items()]
            heapq.heapify(self._heap)
        else:
            heapq.heappush(self._heap, (at_us, context))
        self._set()

    def _set(self) -> None:
        at_us = self._heap[0][0] if self._heap else 0
        if self._sleepers and (not at_us or self._sleepers_at < at_us):
            at_us = self._sleepers_at
        if at_us and at_us != self._set_to:
            self._set_to = at_us
            set_timer(self._timer, at_us)

    def _rang(self) -> None:
        with contextlib.suppress(BlockingIOError):  # it was set anew in this turn of the loop
            os.read(self._timer, 8)
        self._set_to = 0
        now, due = host_microseconds(), []
        while self._heap and self._heap[0][0] <= now:
            due.append(heapq.heappop(self._heap))
        for time, context in due:
            if self._times.get(context) == time:
                del self._times[context]
                if self._sleeps(context):
                    self._fall_asleep(context, now)
                else:
                    self._dozing.discard(context)
                    self._look(context)
        if self._sleepers and self._sleepers_at <= now:
            self._look_at_sleepers(now)
        self._set()

    def _fall_asleep(self, context: int, now: int) -> None:
        if context not in self._dozing:
            self._dozing.add(context)
            self._put(context, now + DOZE_US)
            return
        self._dozing.remove(context)
        if not self._sleepers:
            self._sleepers_at = now + SLEEPERS_EVERY_US
        self._sleepers[context] = None

    def _wake(self, context: int) -> None:
        self._dozing.discard(context)
        self._sleepers.pop(context, None)

    def _look_at_sleepers(self, now: int) -> None:
        # The processor's time: a busy host, which lets this thread wait, does not make the sleepers' budgets looser.
        before = thread_time_ns()
        for context in tuple(self._sleepers):
            if context in self._sleepers and not self._sleeps(context):
                del self._sleepers[context]
                self._look(context)
        took_us = (thread_time_ns() - before) // 1000
        usual = A_SLEEPER_US * len(self._sleepers)
        self._sleepers_at = now + max(SLEEPERS_EVERY_US, usual, min(LOOKS_SHARE * took_us, SLOWEST * usual))
