"""Rings in, completions out: takes submissions, lets the kernel carry them out, and carries out what it tells.

A thread rings its doorbell only when the kernel does not watch its ring. After a thread was served, or has been given
a completion, its ring is among those that are polled (`KERNEL_WATCHING` = 1). When nothing came for a few tens of
microseconds, the kernel tells the threads that it stops to watch, looks once more, and sleeps: an idle system uses no
processor time.

Rules. One submission of one thread at a time, from the ring after the last one served: a thread that never stops
submitting delays others by one system call each, or by one burst of signals that began when no other ring had a
submission (`_fastpath/submission.c`). A turn ends after `TURN_NS`, so that the event loop's other work
(deaths, devices, management) is never starved. The tells of a transaction are carried out before the next one. An
exception that is none of the four failures is a bug: the transaction is rolled back, and `fatal` ends the kernel.
"""

from __future__ import annotations

import asyncio
import os
import time
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from hw import ring
from hw.devices.bus import IoBus
from kerneld import _fastpath, fastpath
from kerneld.host.completions import Completions, Wait
from kerneld.host.core_time import CoreTime, NoCores
from kerneld.host.first_maps import FirstMaps
from kerneld.host.process import Thread
from kerneld.kernel import Kernel
from kerneld.outbox import Message
from kerneld.records import IrqState, KernelRecord, Tcb

POLL_NS: Final = 50_000
TURN_NS: Final = 300_000
CLOCK_EVERY: Final = 8  # times that the fast path has come back, after which a turn looks at the clock
TAKEN_SHORT: Final = 32  # system calls of the fast path that take as long as coming back
COOL_EVERY: Final = 4096  # system calls after which rings that had none of them are not polled any more
U32: Final = 0xFFFFFFFF
RING_WORDS: Final = 4  # of a watched ring (kerneld/_fastpath/serve.c, struct watched)
SERVED: Final = 3


@dataclass(frozen=True, slots=True)
class EntryStatistics:
    """Since the start: submissions taken, turns of the loop, doorbells heard; rings polled now."""

    taken: int
    turns: int
    doorbells: int
    watched: int


class Entry:
    """The kernel's loop over rings.

    Args:
        carry_out, channels_gone: do the tells that are not completions or hints (`Completions`).
        fatal: ends the kernel; told the exception.
        wait: what a completion that may have taken memory away waits for (host/completions.py).
        first_maps: the mappings that the fast path makes; without them it makes none.
        ahead: does a little of what will be needed, while no submission waits; False if there was nothing to do.
    Attributes:
        attention: a word. A thread of the host that has rung a bell of the event loop sets it to 1: the kernel does not
        poll then before the loop has looked.
        kicked: by device, the back ends (capsules, hw/_ram/kicked.h) that have a turn in C when their driver rings.
        ends: by channel, what its page is taken away by as soon as the fast path has severed it (host/channels.py).
    """

    def __init__(
        self,
        kernel: Kernel,
        bus: IoBus,
        loop: asyncio.AbstractEventLoop,
        carry_out: Callable[[Message], None],
        fatal: Callable[[BaseException], None],
        poll_ns: int = POLL_NS,
        wait: Wait = lambda tcb, then: False,
        ahead: Callable[[], bool] = lambda: False,
        first_maps: FirstMaps | None = None,
        channels_gone: Callable[[Sequence[int]], None] = lambda channels: None,
    ) -> None:
        self._kernel = kernel
        self._ram = kernel.ram
        self._bus = bus
        self._lines = bus.lines
        self._loop = loop
        self._threads: dict[int, Thread] = {}  # by TCB address
        self._completions = Completions(kernel, carry_out, wait, self._released, channels_gone)
        self._fatal = fatal
        self._poll_ns = poll_ns
        ports = kernel.core.ports
        self._layout_fast = fastpath.make_layout(kernel.core.kernel, ports.doorbells, ports.latches)
        self._time: CoreTime = NoCores()
        self._restarts = kernel.core.kernel.address + KernelRecord.restart_head.offset
        self._told = kernel.core.kernel.address + KernelRecord.outbox_length.offset
        self._telling = kernel.core.kernel.address + KernelRecord.telling.offset
        self._irq_states = kernel.core.kernel.address + KernelRecord.IRQ_STATES
        self._watched: list[Thread] = []
        self._rings = array("Q")  # of each watched ring: frame, submissions consumed, TCB, whether it was served
        self._next = 0
        self._scheduled = False
        self._host_is_due = False
        self._ahead, self._ahead_is_due = ahead, False  # due once the host was told something
        self._first_maps = first_maps
        self.attention = array("Q", (0,))
        self.kicked: dict[int, object] = {}
        self.ends: dict[int, tuple[int, array[int]]] = {}
        self._ended = False
        self._taken = self._turns = self._doorbells = 0

    def use_time(self, time: CoreTime) -> None:
        """Of virtual cores: told of each transaction, and when nothing comes."""
        self._time = time

    def settle_now(self) -> None:
        """Within a turn: carry out what a transaction has told."""
        self._settle()

    def statistics(self) -> EntryStatistics:
        return EntryStatistics(self._taken, self._turns, self._doorbells, len(self._watched))

    # --- rings ---------------------------------------------------------------------------------------------

    def open(self, thread: Thread) -> None:
        """Hear the thread's doorbell from now on."""
        self._threads[thread.tcb.address] = thread
        self._loop.add_reader(thread.doorbell, self._rang, thread)

    def close(self, thread: Thread) -> None:
        """Its ring is not looked at any more."""
        if self._threads.get(thread.tcb.address) is thread:
            del self._threads[thread.tcb.address]
        self._loop.remove_reader(thread.doorbell)
        if thread.slot >= 0:
            self._unwatch(thread)

    def look(self, thread: Thread) -> None:
        """The thread may have submissions that could not be taken before."""
        if self._threads.get(thread.tcb.address) is thread:
            self._watch(thread)
            self.wake()

    def wake(self) -> None:
        """Have a turn soon: the kernel was changed from outside of a turn."""
        if not self._scheduled and not self._ended:
            self._scheduled = True
            self._loop.call_soon(self._turn)

    def go_on(self, tcbs: Iterable[Tcb]) -> None:
        """A kernel before this one has served the rings that are open, and may have died in the midst of it.

        It may have told threads that it watches, and had completions of theirs (of any of `tcbs`) that it was holding.
        """
        for thread in tuple(self._threads.values()):
            ring.set_consumed(self._ram, thread.frame, thread.tcb.consumed & U32)
            self._watch(thread)
        for tcb in tcbs:
            self._completions.deliver_again(tcb)
        self.wake()

    def host_is_due(self) -> None:
        """Something waits for the event loop (a device's work): end this turn without looking for more first."""
        self._host_is_due = True

    def settle(self) -> None:
        """Carry out what a transaction has told that was not made by a turn (a death, a device's input)."""
        try:
            self._settle()
        except BaseException as error:
            self._stop(error)
        else:
            self.wake()

    def _rang(self, thread: Thread) -> None:
        """What the fast path can do for a thread that has woken the kernel it does first of all."""
        first_maps = self._first_maps
        try:
            taken, unwatched = _fastpath.hear(
                self._ram,
                self._layout_fast,
                thread.frame,
                thread.tcb.address,
                thread.doorbell,
                not self._watched and not self._ended,  # with rings that are watched, it waits for its turn
                self.ends,
                first_maps.shared if first_maps is not None else None,
                self.kicked,
            )
            self._doorbells += 1
            self._watch(thread)
            self._served(-1, taken, unwatched)
        except BaseException as error:
            self._stop(error)
            return
        self._turn()

    def _watch(self, thread: Thread) -> None:
        if thread.slot >= 0:
            return
        consumed = thread.tcb.consumed & U32
        thread.slot = len(self._watched)
        self._watched.append(thread)
        self._rings.extend((thread.frame, consumed, thread.tcb.address, 1))
        ring.watch(self._ram, thread.frame, consumed, 1)

    def _unwatch(self, thread: Thread) -> None:
        """Take it out of the polled rings: the last one takes its place."""
        slot, rings = thread.slot, self._rings
        last = self._watched.pop()
        moved = rings[-RING_WORDS:]
        del rings[-RING_WORDS:]
        if last is not thread:
            self._watched[slot] = last
            rings[RING_WORDS * slot : RING_WORDS * (slot + 1)] = moved
            last.slot = slot
        thread.slot = -1
        ring.watch(self._ram, thread.frame, 0, 0)

    # --- turns ---------------------------------------------------------------------------------------------

    def _turn(self) -> None:
        self._scheduled = False
        if self._ended:
            return
        self._turns += 1
        try:
            again = self._serve()
        except BaseException as error:
            self._stop(error)
            return
        if again:
            self.wake()

    def _stop(self, error: BaseException) -> None:
        self._ended = True
        self._fatal(error)

    def end(self) -> None:
        """Serve nothing any more."""
        self._ended = True
        self._time.close()

    def _serve(self) -> bool:
        """Serve until nothing comes, or the turn is over. Returns whether another turn is due."""
        ram, rings, word, attention = self._ram, self._rings, self._ram.word, self.attention
        first_maps = self._first_maps
        end = time.monotonic_ns() + TURN_NS
        count = 0
        while not self._ended:
            restarts = word(self._restarts) or word(self._telling)  # what `continue_one` has to do
            # Whom a severed channel cuts off may wait for this very processor, which no yield gives to another session.
            hurries = self._host_is_due or self._completions.severed
            if self._completions.others_told and not restarts:
                # Some of those whom the host was asked to tell may wait for this very processor.
                self._completions.others_told = False
                self._ahead_is_due = True
                os.sched_yield()
            found, self._next, taken, unwatched = _fastpath.serve(
                ram,
                self._layout_fast,
                rings,
                self._next,
                0 if restarts or hurries or self._ahead_is_due or self._kernel.is_idle else self._poll_ns,
                attention,
                self.ends,
                first_maps.shared if first_maps is not None else None,
                self.kicked,
            )
            handed = len(first_maps.notes) if first_maps is not None else 0
            self._served(found, taken, unwatched)
            if restarts:
                self._kernel.continue_one()
                self._settle()
            elif found < 0 and not taken and not hurries and self._ahead_is_due and not attention[0]:
                self._ahead_is_due = self._ahead()
            elif found < 0 and not taken:
                self._completions.severed = False
                if self._host_is_due or attention[0]:
                    self._host_is_due, attention[0] = False, 0
                    return True
                if not self._time.idle():
                    return self._cannot_sleep()
            count += 1 + handed + taken // TAKEN_SHORT
            # A unit of a long operation is much of a turn by itself, and so are some calls that the fast path leaves;
            # of what is short, the clock is the greater part.
            if restarts or found >= 0 or count >= CLOCK_EVERY:
                if time.monotonic_ns() > end:
                    return True
                count = 0
        return False

    def _served(self, found: int, taken: int, unwatched: int) -> None:
        """What the fast path leaves: notes, a submission that it cannot carry out, tells, a thread to watch."""
        first_maps = self._first_maps
        if first_maps is not None and first_maps.notes:
            first_maps.note()
            self._ahead_is_due = True
        if found >= 0:
            self._take(found)
        if taken:
            self._count(taken)
            if self._ram.word(self._told):  # of a Map or a Revoke
                self._settle()
            if unwatched:
                self._watch_tcb(unwatched)

    def _watch_tcb(self, address: int) -> None:
        thread = self._threads.get(address)
        if thread is not None:
            self._watch(thread)

    def _released(self, address: int) -> None:
        """A thread was given a completion outside of a turn."""
        self._watch_tcb(address)
        self.wake()

    def _count(self, taken: int) -> None:
        before = self._taken // COOL_EVERY
        self._taken += taken
        if self._taken // COOL_EVERY != before:
            self._cool()

    def _take(self, index: int) -> None:
        thread = self._watched[index]
        tcb = thread.tcb
        if not self._kernel.take_slowly(tcb):
            self._rest(thread)
            return
        consumed = tcb.consumed & U32
        self._rings[RING_WORDS * index + 1] = consumed
        self._rings[RING_WORDS * index + SERVED] = 1
        ring.set_consumed(self._ram, thread.frame, consumed)
        self._count(1)
        self._settle()

    def _rest(self, thread: Thread) -> None:
        """Its submissions cannot be taken now (it is blocked, or held): hear its doorbell instead, for CANCEL."""
        self._unwatch(thread)
        # It may have submitted between the kernel's look and the thread's seeing that it is not watched any more.
        if self._kernel.take(thread.tcb):
            ring.set_consumed(self._ram, thread.frame, thread.tcb.consumed & U32)
            self._watch(thread)
            self._settle()

    def _cannot_sleep(self) -> bool:
        """Stop to watch all rings; one that has submissions after all stays."""
        for thread in tuple(self._watched):
            if not ring.watch(self._ram, thread.frame, thread.tcb.consumed & U32, 0):
                self._unwatch(thread)
            else:
                ring.watch(self._ram, thread.frame, 0, 1)
        self._forget_served()
        return bool(self._watched)

    def _cool(self) -> None:
        """A system that never sleeps stops to poll the rings that are not in use."""
        for thread in tuple(self._watched):
            served = self._rings[RING_WORDS * thread.slot + SERVED]
            waiting = served or ring.watch(self._ram, thread.frame, thread.tcb.consumed & U32, 0)
            if not waiting:
                self._unwatch(thread)
            else:
                ring.watch(self._ram, thread.frame, 0, 1)
        self._forget_served()

    def _forget_served(self) -> None:
        for at in range(SERVED, len(self._rings), RING_WORDS):
            self._rings[at] = 0

    # --- tells ---------------------------------------------------------------------------------------------

    def _settle(self) -> None:
        for address in self._completions.publish():
            self._watch_tcb(address)
        self._kernel.core.service.end()
        self._time.passed()
        if self._lines.high:
            self._interrupt()

    def _interrupt(self) -> None:
        word, states = self._ram.word, self._irq_states
        for line in self._bus.pending_lines(lambda line: word(states + 8 * line) == IrqState.SIGNAL):
            if self._kernel.fast_layout is not None:  # not on virtual cores
                woken = _fastpath.interrupt(self._ram, self._layout_fast, line)
                if woken is not None:
                    self._bus.taken(line)
                    self._watch_tcb(woken)
                    continue
            self._kernel.interrupt(line)
            self._bus.taken(line)
            self._settle()
