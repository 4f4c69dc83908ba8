"""How much processor time a thread has used, as the host counts it: what scheduling contexts are charged by.

A process with one thread of the kernel's is read by the process's clock, which is exact and costs 0.3 us, and counts
the host threads that the task has made for itself. Where a process has several, each is read by its own: the host keeps
that in a file (1.4 us by a descriptor that stays open, 5 us without), to the last tick of its scheduler (4 ms at most)
while the thread runs. The first thread goes on from the time that the process had used until then.

Which host thread a further one is, the process's own keeper says, by the number that it has in the process's own pid
namespace. It can only name a thread of its own process: those are what is looked through for it, the youngest first.
One that is not found is charged the whole process's time from then on; one that names a thread which sleeps is charged
too little, and what no thread of the kernel's names is charged to nobody.
"""

from __future__ import annotations

import os
from typing import Final, Protocol

from kerneld.host.descriptors import is_spare
from kerneld.host.linux import processor_time_us

_BYTES: Final = 64  # of three numbers: nanoseconds on a processor, nanoseconds of waiting for one, turns


class Clock(Protocol):
    """A thread's processor time, and how long it had to wait for a processor."""

    def read_us(self) -> int:
        """Microseconds; never less than before."""
        ...

    def waited_us(self) -> int:
        """Microseconds; never less than before; 0 where nobody counts them."""
        ...

    def close(self) -> None: ...


class ThreadClock:
    """The clock of one host thread. What it says is counted from ``base_us`` on, or from the thread's beginning."""

    def __init__(self, descriptor: int, base_us: int | None = None) -> None:
        self._descriptor = descriptor
        self._offset_us = 0
        self._last_us = self._last_waited_us = 0
        if base_us is not None:
            self._offset_us = base_us - self.read_us()

    def read_us(self) -> int:
        # Read at each donation of a scheduling context, so in as few steps as it can be.
        try:
            text = os.pread(self._descriptor, _BYTES, 0)
        except ProcessLookupError:  # it has ended: what was read last stands
            return self._last_us
        self._last_us = self._offset_us + int(text[: text.find(b" ")]) // 1000
        return self._last_us

    def waited_us(self) -> int:
        try:
            fields = os.pread(self._descriptor, _BYTES, 0).split()
        except ProcessLookupError:
            return self._last_waited_us
        self._last_waited_us = int(fields[1]) // 1000
        return self._last_waited_us

    def close(self) -> None:
        os.close(self._descriptor)


class SharedClock:
    """The process's clock from now on, counted from ``base_us``, for a thread whose own is not known."""

    def __init__(self, pid: int, base_us: int = 0) -> None:
        self._pid = pid
        self._base_us = base_us
        self._begin_us = processor_time_us(pid)

    def read_us(self) -> int:
        return self._base_us + max(0, processor_time_us(self._pid) - self._begin_us)

    def waited_us(self) -> int:
        return 0

    def close(self) -> None:
        return None


def open_clock(pid: int, tid: int, base_us: int | None = None) -> ThreadClock | None:
    """The clock of a thread of a process that is not reaped yet.

    None where there is none such: the number is no thread of that process (it has ended, or the process lies), the host
    does not count (a kernel without scheduler statistics), or has no descriptor to spare.
    """
    try:
        descriptor = os.open(f"/proc/{pid}/task/{tid}/schedstat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    if not is_spare(descriptor):
        os.close(descriptor)
        return None
    return ThreadClock(descriptor, base_us)
