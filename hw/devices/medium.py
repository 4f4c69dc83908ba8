"""What a disk keeps its bytes on, and who waits for it."""

from __future__ import annotations

import os
import queue
import sys
import threading
from collections import deque
from typing import Final, NamedTuple, Protocol

from hw.devices.block import ENDED, SECTOR_BYTES, STEP, Kind, Outcome, Request
from hw.iommu import Buffer

SWITCH_S: Final = 50e-6


class Medium(Protocol):
    """What keeps the bytes: `hw.devices.disk_image.DiskImage`, or in a test anything that does the same.

    A test that records writes with their data, and flushes, has the log that a loss of power cuts: what stands before a
    flush that returned is kept, and of what stands behind the last one any part may be lost. All but `read_now` and
    `worker` runs on the disk's thread, one call after the other.
    """

    def read(self, offset: int, size: int, /) -> Buffer:
        """``size`` bytes. May block. Raises OSError."""

    def read_now(self, offset: int, size: int, /) -> Buffer | None:
        """The same if it does not block, else None. Raises OSError."""

    def write(self, offset: int, data: Buffer, /) -> None:
        """Store all of it. May block. Raises OSError."""

    def flush(self) -> None:
        """All that was written before is on the medium when this returns. May block. Raises OSError."""

    def worker(self) -> Worker:
        """Who carries out what may block: a thread that calls the above."""
        return MediumThread(self)


class Worker(Protocol):
    """Carries out requests beside the kernel, one after the other.

    `bell` is a descriptor that becomes readable after something has come to `finished_nowait`; small requests that were
    given together may ring it together, but none waits for a commit, or for a flush that is no barrier. Whom it
    wakes calls `answer_bell` first: what is finished later rings again.
    """

    @property
    def bell(self) -> int: ...

    def carry_out(self, request: Request, /) -> None:
        """Take a read, a write, a flush or a commit, to be done after all that were given before."""

    def begin(self) -> None:
        """Start with what was given. (It may have been before.)"""

    def finished_nowait(self) -> list[Answer]:
        """What was finished since the last call."""

    def answer_bell(self) -> None:
        """Make the bell quiet. It has rung."""

    def close(self) -> None:
        """Wait until all is carried out that was given."""


class Answer(NamedTuple):
    """A request that was carried out, and what it gives the driver."""

    request: Request
    data: Buffer = b""
    outcome: Outcome = Outcome.OK


class MediumThread:
    """A `Worker` for a medium that is Python's.

    A request takes the interpreter's lock three times. A busy kernel would keep it for 5 ms each time, as Python's
    threads do by default: from the first such thread on, this process's give it up after `SWITCH_S` seconds.
    """

    def __init__(self, medium: Medium) -> None:
        if sys.getswitchinterval() > SWITCH_S:
            sys.setswitchinterval(SWITCH_S)
        self._medium = medium
        self._jobs: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self._finished: deque[Answer] = deque()
        self.bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._thread = threading.Thread(target=self._work, name="disk", daemon=True)
        self._thread.start()

    def carry_out(self, request: Request) -> None:
        self._jobs.put(request)

    def begin(self) -> None:
        """It has begun."""

    def finished_nowait(self) -> list[Answer]:
        return [self._finished.popleft() for _ in range(len(self._finished))]

    def answer_bell(self) -> None:
        os.eventfd_read(self.bell)

    def close(self) -> None:
        self._jobs.put(None)
        self._thread.join()
        os.close(self.bell)

    def _work(self) -> None:
        while (request := self._jobs.get()) is not None:
            self._finished.append(self._carried_out(request))
            os.eventfd_write(self.bell, 1)

    def _carried_out(self, request: Request) -> Answer:
        offset = request.sector * SECTOR_BYTES
        try:
            match request.kind:
                case Kind.IN:
                    return Answer(request, self._medium.read(offset, request.size))
                case Kind.OUT:
                    self._medium.write(offset, request.data)
                case Kind.FLUSH:
                    self._medium.flush()
                case Kind.COMMIT:
                    return self._committed(request)
        except OSError:
            return Answer(request, outcome=Outcome.IOERR)
        return Answer(request)

    def _committed(self, request: Request) -> Answer:
        """One step after the other; none behind one that fails."""
        ended = at = 0
        try:
            for sector, sectors in STEP.iter_unpack(request.steps):
                end = at + sectors * SECTOR_BYTES
                if sectors:
                    self._medium.write(sector * SECTOR_BYTES, memoryview(request.data)[at:end])
                else:
                    self._medium.flush()
                ended, at = ended + 1, end
        except OSError:
            return Answer(request, ENDED.pack(ended), Outcome.IOERR)
        return Answer(request, ENDED.pack(ended))
