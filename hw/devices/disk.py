"""A disk's back end: carries out the block device's requests on an image.

Reads that the host has in memory are made at once; all else is done by a thread of the disk's own, one request after
the other, so that a flush comes after the writes that were taken before it. Requests are taken in bounded turns of the
event loop, and at most `MOST_BYTES` are under way. What was taken and not finished when a kernel died is done again by
the next one: reading, writing and flushing twice does no harm, since the driver has not been told that it was done once.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from hw.devices.block import ID_BYTES, SECTOR_BYTES, Block, Kind, Outcome, Request
from hw.devices.bus import IoBus
from hw.devices.virtio import Cause
from hw.devices.virtqueue import Chain
from hw.iommu import DmaFault

CHAINS_A_TURN: Final = 32
MOST_BYTES: Final = 8 << 20  # of requests under way
IDENTITY: Final = b"sel4py-disk".ljust(ID_BYTES, b"\0")


class Medium(Protocol):
    """What keeps the bytes: `hw.devices.disk_image.DiskImage`, or in a test anything that does the same.

    A test that records what is written and when it is flushed sees here the order in which a loss of power cuts.
    """

    def read(self, offset: int, size: int, /) -> bytes:
        """May block. Raises OSError."""

    def read_now(self, offset: int, size: int, /) -> bytes | bytearray | None:
        """The same if it does not block, else None. Raises OSError."""

    def write(self, offset: int, data: bytes, /) -> None:
        """May block. Raises OSError."""

    def flush(self) -> None:
        """All that was written before is on the medium when this returns. May block. Raises OSError."""


Done = tuple[Request, bytes | bytearray, Outcome]


class Disk:
    """Joins a block device to its medium. `changed` is called after each change of the device's line."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        bus: IoBus,
        device: Block,
        medium: Medium,
        changed: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._bus = bus
        self._device = device
        self._medium = medium
        self._changed = changed
        self._bytes = 0  # of what the thread has
        self._jobs: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self._finished: deque[Done] = deque()
        self._soon: asyncio.Handle | None = None
        self._closed = False
        self._interrupted = True  # what a former kernel has taken is looked for first
        self._thread = threading.Thread(target=self._work, name="disk", daemon=True)
        self._thread.start()
        self.kicked()

    def kicked(self) -> None:
        """Go on with what the driver wants."""
        if self._soon is None and not self._closed:
            self._soon = self._loop.call_soon(self._turn)

    def close(self) -> None:
        """End the thread, after what it was given; what it finishes is not told any more."""
        if self._closed:
            return
        self._closed = True
        if self._soon is not None:
            self._soon.cancel()
        self._jobs.put(None)
        self._thread.join()

    # --- on the event loop ---------------------------------------------------------------------------------

    def _turn(self) -> None:
        self._soon = None
        done = [self._finished.popleft() for _ in range(len(self._finished))]
        self._bytes -= sum(request.size for request, _, _ in done)
        for request in self._take():
            answered = self._at_once(request)
            if answered is not None:
                done.append(answered)
            else:
                self._bytes += request.size
                self._jobs.put(request)
        more = False
        if done:
            written = [(each, self._transfer(*each)) for each in done]
            self._bus.change(self._device, lambda: self._finish(written))
        if self._bytes < MOST_BYTES and self._device.is_live:
            more = self._device.requests.has_more()
        if done or more:
            self._changed()
        if more or self._finished:
            self.kicked()

    def _take(self) -> list[Request]:
        """Requests that begin now. A chain that is none stops the device."""
        chains: list[Chain] = []
        if self._bytes >= MOST_BYTES:
            return []
        requests = self._device.requests
        if self._interrupted:
            self._interrupted = False
            chains = requests.interrupted()
        self._bus.change(self._device, lambda: chains.extend(requests.take(CHAINS_A_TURN)))
        found: list[Request] = []
        for chain in chains:
            try:
                request = self._device.read_request(chain)
            except DmaFault:
                self._fail(Cause.DMA_FAULT)
                return []
            if request is None:
                self._fail(Cause.BAD_REQUEST)
                return []
            found.append(request)
        return found

    def _at_once(self, request: Request) -> Done | None:
        """What needs no thread. None: it does."""
        match request.kind:
            case None:
                return request, b"", request.outcome
            case Kind.GET_ID:
                return request, IDENTITY, Outcome.OK
            case Kind.IN if self._jobs.empty():
                try:
                    data = self._medium.read_now(request.sector * SECTOR_BYTES, request.size)
                except OSError:
                    return request, b"", Outcome.IOERR
                return None if data is None else (request, data, Outcome.OK)
            case _:
                return None

    def _transfer(self, request: Request, data: bytes | bytearray, outcome: Outcome) -> int:
        """Put data and status where the driver wants them; returns how many bytes, or -1: it cannot be."""
        if request.resets != self._device.own.resets:
            return -1
        dma = self._device.dma
        written = 0
        if data:
            try:
                written = dma.scatter(request.into, data)
            except DmaFault:  # the buffer is gone: its owner's matter
                outcome = Outcome.IOERR
        try:
            dma.write(request.status.address, bytes([outcome]))
        except DmaFault:
            return -1
        return written + 1

    def _finish(self, written: list[tuple[Done, int]]) -> None:
        alive = [each for each in written if each[0][0].resets == self._device.own.resets]
        if any(count < 0 for _, count in alive):
            self._device.fail(Cause.DMA_FAULT)
        self._device.requests.give_back([(done[0].chain.head, count) for done, count in alive if count >= 0])

    def _fail(self, cause: Cause) -> None:
        self._bus.change(self._device, lambda: self._device.fail(cause))
        self._changed()

    # --- on the thread -------------------------------------------------------------------------------------

    def _work(self) -> None:
        while (request := self._jobs.get()) is not None:
            self._finished.append(self._carry_out(request))
            if not self._closed:
                self._loop.call_soon_threadsafe(self.kicked)

    def _carry_out(self, request: Request) -> Done:
        offset = request.sector * SECTOR_BYTES
        try:
            match request.kind:
                case Kind.IN:
                    return request, self._medium.read(offset, request.size), Outcome.OK
                case Kind.OUT:
                    self._medium.write(offset, request.data)
                case Kind.FLUSH:
                    self._medium.flush()
        except OSError:
            return request, b"", Outcome.IOERR
        return request, b"", Outcome.OK
