"""What has happened on the virtual cores: who runs from when on, and which system calls were made. For people, and for
tests that one system's schedule is the same each time. Nothing in the kernel decides by it.

The events lie in memory of their own, a ring that only the kernel writes to and that another kernel is handed after
this one's death. RAM says how many there are (`KernelRecord.events`): those of a transaction are written before its
commit and count with it, so what is rolled back has never happened. The oldest are overwritten.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from kerneld.cores.record import all_cores
from kerneld.records import KernelRecord

if TYPE_CHECKING:
    from mmap import mmap

KEPT: Final = 65536  # events
SPARE: Final = 64  # more than one transaction has: what was written and did not come to count has overwritten as many
RUNS: Final = "runs"
IDLE: Final = "idle"

_ENTRY: Final = struct.Struct("<QQ32s16s")  # time, core, name, what: in UTF-8, cut to this length
TRACE_BYTES: Final = (KEPT + SPARE) * _ENTRY.size


class Event(NamedTuple):
    """At a time (microseconds of the kernel's clock), a core began to run a thread, or was idle, or a thread made a
    system call (`what` is its name)."""

    time_us: int
    core: int
    thread: str
    what: str


class Trace:
    """The last events. Those of a transaction count once it is committed.

    Args:
        memory: `TRACE_BYTES`, which hold what a kernel before this one has written, or nothing.
    """

    def __init__(self, kernel: KernelRecord, memory: bytearray | mmap) -> None:
        self._kernel = kernel
        self._memory = memory
        self._open: list[Event] = []
        # by core, the address of the thread that it runs; 0: it is idle
        current = [each.current for each in all_cores(kernel)]
        self._running = {number: 0 if tcb is None else tcb.address for number, tcb in enumerate(current)}
        self._before = dict(self._running)  # as `_running`, when the transaction began

    @property
    def count(self) -> int:
        """How many events there were, ever."""
        return self._kernel.events

    def last(self, most: int = KEPT) -> list[Event]:
        """The last events, the oldest first."""
        count = self.count
        return [self._read(number) for number in range(max(0, count - min(most, KEPT)), count)]

    def add(self, event: Event) -> None:
        """Inside a transaction."""
        self._open.append(event)

    def runs(self, time_us: int, core: int, address: int, name: str) -> None:
        """The core runs the thread at this address, or is idle (0). No event if it did so before."""
        if self._running.get(core) != address:
            self._running[core] = address
            self.add(Event(time_us, core, name, RUNS if address else IDLE))

    def write(self) -> None:
        """The last act of a transaction: its events count if it is committed."""
        if not self._open:
            return
        count = self.count
        for number, event in enumerate(self._open, count):
            entry = (event.time_us, event.core, event.thread.encode()[:32], event.what.encode()[:16])
            _ENTRY.pack_into(self._memory, number % (KEPT + SPARE) * _ENTRY.size, *entry)
        self._kernel.events = count + len(self._open)

    def commit(self) -> None:
        self._open.clear()
        self._before = dict(self._running)

    def roll_back(self) -> None:
        self._open.clear()
        self._running = dict(self._before)

    def _read(self, number: int) -> Event:
        time, core, *names = _ENTRY.unpack_from(self._memory, number % (KEPT + SPARE) * _ENTRY.size)
        thread, what = (name.rstrip(b"\0").decode(errors="replace") for name in names)
        return Event(time, core, thread, what)
