"""Processes that end, and the threads whose next life waits until one of them is gone.

Rule: many may end at once, each with somebody who waits for it. So each is found by what it has, and not by a look at
all of them: its VSpace, and the TCBs of its threads.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from kerneld.host.process import Process
from kerneld.records import Tcb


class _Has(NamedTuple):
    """What a process has: the object of this kind at this address. One that was destroyed leaves its address."""

    is_tcb: bool
    address: int


class _Waiting(NamedTuple):
    """A thread whose next life waits, for all that have one of these."""

    number: int
    tcb: Tcb
    needs: tuple[_Has, ...]


class Endings:
    """Both of them. Whoever waits does so for every process that ends and has the thread's TCB, or VSpace."""

    def __init__(self) -> None:
        self._ending: dict[Process, tuple[_Has, ...]] = {}
        self._had: Counter[_Has] = Counter()  # by so many of them
        self._waiting: dict[int, _Waiting] = {}  # by the TCB's address
        self._order = itertools.count()
        self._waits_for: dict[_Has, dict[int, None]] = {}

    def __iter__(self) -> Iterator[Process]:
        return iter(self._ending)

    def __contains__(self, process: Process) -> bool:
        return process in self._ending

    def add(self, process: Process) -> None:
        """It ends; no thread is added to it any more."""
        has = {_Has(False, process.vspace), *(_Has(True, thread.tcb.address) for thread in process.threads)}
        self._ending[process] = tuple(has)
        self._had.update(has)

    def try_wait(self, tcb: Tcb, vspace: int) -> bool:
        """Let the thread's next life wait, if it has to."""
        needed = (_Has(True, tcb.address), _Has(False, vspace))
        self.wait_no_more(tcb.address)
        if not any(each in self._had for each in needed):
            return False
        self._waiting[tcb.address] = _Waiting(next(self._order), tcb, needed)
        for each in needed:
            self._waits_for.setdefault(each, {})[tcb.address] = None
        return True

    def waits(self, tcb: int) -> bool:
        """Whether the life of the thread at this address waits."""
        return tcb in self._waiting

    def wait_no_more(self, tcb: int) -> None:
        """It is started, or is not to be."""
        if tcb not in self._waiting:
            return
        for each in self._waiting.pop(tcb).needs:
            waiting = self._waits_for[each]
            del waiting[tcb]
            if not waiting:
                del self._waits_for[each]

    def gone(self, process: Process) -> list[Tcb]:
        """It is gone: the threads that have waited for it, in the order in which they began to."""
        has = self._ending.pop(process, ())
        self._had.subtract(has)
        for each in has:
            if not self._had[each]:
                del self._had[each]
        found = {tcb for each in has for tcb in self._waits_for.get(each, ())}
        return [each.tcb for each in sorted((self._waiting[tcb] for tcb in found), key=lambda each: each.number)]

    def clear(self) -> None:
        """All are forgotten."""
        self._ending.clear()
        self._had.clear()
        self._waiting.clear()
        self._waits_for.clear()
