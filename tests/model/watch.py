"""Compares all of RAM before and after each system call and each event, by `integrity.py`, while a machine runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from hw.ram import Ram
from kerneld import layout
from kerneld.kernel import Kernel
from kerneld.records import Tcb
from libsel4py import abi
from tests.harness import Machine
from tests.model.coverage import Coverage
from tests.model.dealings import Before
from tests.model.events import (
    BudgetLook,
    ChannelFailure,
    Event,
    Interrupt,
    ProcessEnd,
    Reaping,
    Telling,
    coverage_of,
)
from tests.model.integrity import Judge

CHUNK, PAGE, WORD = 1 << 16, 1 << 12, abi.WORD_BYTES


class Watch:
    """RAM when each system call, or event, begins.

    ``compared`` counts system calls, ``events`` by kind those that changed anything; ``changed`` counts words.
    """

    def __init__(self, ram: Ram) -> None:
        self.ram = ram
        self.compared = self.changed = 0
        self.events: Counter[type[Event]] = Counter()
        self._before = bytearray(ram.size)
        self._chunks = [b""] * (ram.size // CHUNK)
        self.begin()

    def begin(self) -> None:
        """It begins: this is RAM before it."""
        for number, data in self._read():
            if data != self._chunks[number]:
                self._chunks[number] = data
                self._before[number * CHUNK : (number + 1) * CHUNK] = data

    def _read(self) -> Iterator[tuple[int, bytes]]:
        for number in range(len(self._chunks)):
            yield number, self.ram.read(number * CHUNK, CHUNK)

    def violations(self, cause: int | Event) -> list[str]:
        """What the system call of a thread (by its address), or the event, has changed and did not cover, in words."""
        addresses = [
            number * CHUNK + offset
            for number, data in self._read()
            if data != self._chunks[number]
            for offset in _differing(self._chunks[number], data)
        ]
        if isinstance(cause, int):
            self.compared += 1
        else:
            self.events[type(cause)] += bool(addresses)
        self.changed += len(addresses)
        before = Before(Ram(self._before, layout.UNDO_LOG, layout.UNDO_LOG_BYTES))
        covered = Coverage(before, cause) if isinstance(cause, int) else coverage_of(before, cause)
        return Judge(before, Before(self.ram), covered, addresses).violations()


def _differing(before: bytes, now: bytes) -> list[int]:
    found: list[int] = []
    for page in range(0, len(now), PAGE):
        old, new = before[page : page + PAGE], now[page : page + PAGE]
        if old != new:
            words = zip(memoryview(old).cast("Q"), memoryview(new).cast("Q"), strict=True)
            found += [page + WORD * index for index, (was, has) in enumerate(words) if was != has]
    return found


class WatchedKernel(Kernel):
    """A kernel that notes whose system call it carries out, or what has happened, and what RAM was before."""

    cause: int | Event | None = None
    watch: Watch | None = None

    def take(self, tcb: Tcb) -> bool:
        frame = tcb.trap_frame
        if (
            frame
            and int.from_bytes(self.ram.read(frame + abi.SUBMIT_PRODUCED, 4), "little") != tcb.consumed & 0xFFFFFFFF
        ):
            self._begin(tcb.address)
        done = super().take(tcb)
        if not done:
            self.cause = None
        return done

    def continue_one(self) -> bool:
        first = self.core.kernel.restart_head
        if self.has_work:
            self._begin(Telling() if first is None else first.address)
        return super().continue_one()

    def interrupt(self, line: int) -> None:
        self._begin(Interrupt(line))
        super().interrupt(line)

    def died(self, tcb: Tcb, status: int) -> None:
        self._begin(ProcessEnd(tcb.address))
        super().died(tcb, status)

    def reaped(self, tcb: Tcb) -> None:
        self._begin(Reaping(tcb.address))
        super().reaped(tcb)

    def look_at_budget(self, context: int) -> None:
        self._begin(BudgetLook(context))
        super().look_at_budget(context)

    def channel_failed(self, channel: int) -> None:
        self._begin(ChannelFailure(channel))
        super().channel_failed(channel)

    def _begin(self, cause: int | Event) -> None:
        initial = self.core.kernel.initial_tcb
        self.cause = None if initial is not None and initial.address == cause else cause
        if self.watch is not None and self.cause is not None:
            self.watch.begin()

    def compare(self) -> None:
        """What the last system call or event has changed, after the host's part. Raises AssertionError."""
        cause, self.cause = self.cause, None
        if cause is not None and self.watch is not None:
            found = self.watch.violations(cause)
            assert not found, f"{self._told(cause)} has changed what it has no authority over: {', '.join(found)}"

    def _told(self, cause: int | Event) -> str:
        if not isinstance(cause, int):
            return str(cause)
        tcb = Tcb(self.ram, cause)
        return f"{tcb.name} (system call {tcb.op - (1 << 64 if tcb.op else 0)}, label {abi.info_label(tcb.info)})"


class WatchedMachine(Machine):
    """A machine whose every system call and event is compared, if its kernel is one that watches."""

    def settle(self) -> None:
        super().settle()
        if isinstance(self.kernel, WatchedKernel):
            self.kernel.compare()
