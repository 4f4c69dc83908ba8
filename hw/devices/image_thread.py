"""The thread that reads, writes and flushes an image: C (`hw/_disk`), so that it never waits for the interpreter.

The kernel polls for system calls with the interpreter's lock in its hand; a thread of Python's would wait for that at
each step of a request, and the kernel for the thread.
"""

from __future__ import annotations

import os
from array import array

from hw._disk import Worker
from hw.devices.block import SECTOR_BYTES, Kind, Outcome, Request
from hw.devices.medium import Answer


class ImageThread:
    """A `hw.devices.medium.Worker` on an image's descriptor, which must stay open until `close`.

    Args:
        witness: -1, or another opening of the image, to be asked by the first flush that ends well (`DiskImage`).
    """

    def __init__(self, descriptor: int, attention: array[int], witness: int = -1) -> None:
        self._worker: Worker[Request] = Worker(descriptor, attention, witness)
        self.bell = self._worker.bell

    def carry_out(self, request: Request, /) -> None:
        match request.kind:
            case Kind.IN:
                self._worker.read(request, request.sector * SECTOR_BYTES, request.size)
            case Kind.OUT:
                self._worker.write(request, request.sector * SECTOR_BYTES, request.data)
            case Kind.COMMIT:
                self._worker.commit(request, request.steps, request.data)
            case _:
                self._worker.flush(request, not request.is_barrier)  # a barrier's writes are sent with it

    def begin(self) -> None:
        self._worker.kick()

    def finished_nowait(self) -> list[Answer]:
        return [
            Answer(request, (data or b"") if request.kind is Kind.COMMIT else b"", Outcome.IOERR)
            if error
            else Answer(request, data or b"")
            for request, error, data in self._worker.finished()
        ]

    def answer_bell(self) -> None:
        os.eventfd_read(self.bell)

    def close(self) -> None:
        self._worker.close()
