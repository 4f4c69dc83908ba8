"""A disk's back end: carries out the block device's requests on a medium.

Rules. A turn of the event loop is bounded: `CHAINS_A_TURN` chains are taken, and about `BYTES_A_TURN` and
`SEGMENTS_A_TURN` are moved each way; at most about `MOST_BYTES` are with the thread. What the medium does without
blocking is done in the turn; all else is done by a thread of the disk's own, one request after the other, so a flush
comes after all writes that were done before it. Requests may be finished in another order than they came in, but none
passes a barrier: while the thread has one, it gets all that comes. None passes a reset either: what the thread has then
is done before anything behind the reset is taken. So no read finds what an earlier driver's write is about to change,
and a driver that resets its device again and again has the thread hold no more than one that does not.

A write that the driver is told of is with the medium, which outlives the kernel; a flush that it is told of is on the
medium for good. What was under way when a kernel died is done again by the next one (`DeviceQueue.recover`): reading,
writing and flushing twice does no harm, since the driver has not been told that it was done once. For the same reason
the thread gets its requests before the turn is committed, and wakes while the turn goes on.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from hw.devices.block import ENDED, ID_BYTES, SECTOR_BYTES, STEP, Block, Kind, Outcome, Request
from hw.devices.bus import IoBus
from hw.devices.medium import Answer, Medium, Worker
from hw.devices.virtio_registers import Cause
from hw.devices.virtqueue import SEGMENTS_A_TURN, Chain
from hw.iommu import DmaFault
from hw.waiting import wait_readable

CHAINS_A_TURN: Final = 32
BYTES_A_TURN: Final = 1 << 20
MOST_BYTES: Final = 8 << 20
IDENTITY: Final = b"sel4py-disk".ljust(ID_BYTES, b"\0")


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
        self._requests = device.requests
        self._medium = medium
        self._changed = changed
        # What the thread has, or has finished and the driver was not told of:
        self._bytes = 0
        self._barriers = 0
        self._given = 0  # requests
        self._finished: deque[Answer] = deque()
        self._is_behind_reset = False  # and has had since before the last reset
        self._given_back = 0  # in this turn
        self._failing = 0  # of the next requests
        self._soon: asyncio.Handle | None = None
        self._closed = False
        self._resets = device.own.resets  # what waits was taken after so many
        self._requests.recover(bus)
        self._waiting: deque[Chain] = deque()  # taken, and not looked at
        self._thread: Worker = medium.worker()
        loop.add_reader(self._thread.bell, self._rung)
        self.kicked()

    def kicked(self) -> None:
        """Go on with what the driver wants."""
        if self._soon is None and not self._closed:
            self._soon = self._loop.call_soon(self._turn)

    def fail_next(self, count: int) -> None:
        """Fault injection: so many of the next requests end with an error of the medium, and do nothing."""
        self._failing += count

    @property
    def failing(self) -> int:
        """How many of the next requests will fail so."""
        return self._failing

    def finish(self, deadline: float) -> bool:
        """Wait until nothing is left that the driver, which does not run, has asked for. False: not by the deadline.

        Args:
            deadline: on the clock of `time.monotonic`.
        """
        while self._is_busy():
            self._turn()
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            if self._given and not self._finished and wait_readable(self._thread.bell, left):
                self._thread.answer_bell()
        return True

    def _is_busy(self) -> bool:
        return bool(self._given) or (self._device.is_live and self._has_more())

    def _has_more(self) -> bool:
        return bool(self._waiting) or self._requests.has_more()

    def close(self) -> None:
        """End the thread, after what it was given; what it finishes is not told any more."""
        if self._closed:
            return
        self._closed = True
        if self._soon is not None:
            self._soon.cancel()
        self._loop.remove_reader(self._thread.bell)
        self._thread.close()

    def _rung(self) -> None:
        self._thread.answer_bell()
        self._turn()

    def _turn(self) -> None:
        if self._soon is not None:
            self._soon.cancel()
            self._soon = None
        self._bus.change(self._device, self._work)
        if self._given_back:
            self._requests.publish(self._bus)
        if self._finished or (self._bytes < MOST_BYTES and not self._is_behind_reset and self._has_more()):
            self.kicked()
        if self._given_back or not self._device.is_live:
            self._changed()

    # --- inside the transaction ----------------------------------------------------------------------------

    def _work(self) -> None:
        self._finished.extend(self._thread.finished_nowait())
        answers = [self._after_failures(answer) for answer in self._finished_nowait()]
        for request in self._requests_nowait():
            answered = self._at_once(request)
            if answered is None:
                self._given += 1
                self._bytes += request.size
                self._barriers += request.is_barrier
                self._thread.carry_out(request)
            else:
                answers.append(answered)
        self._thread.begin()
        self._given_back = len(answers)
        if answers:
            self._requests.give_back(self._delivered(answers))

    def _finished_nowait(self) -> list[Answer]:
        """What the thread has finished, as much as a turn may deliver."""
        answers: list[Answer] = []
        budget, segments = BYTES_A_TURN, SEGMENTS_A_TURN
        while self._finished and budget > 0 and segments > 0:
            answer = self._finished.popleft()
            answers.append(answer)
            budget -= len(answer.data)
            segments -= answer.request.chain.segments
            self._given -= 1
            self._bytes -= answer.request.size
            self._barriers -= answer.request.is_barrier
        return answers

    def _after_failures(self, answer: Answer) -> Answer:
        """The same; an error where a flush has ended well, and no driver may have heard of one that had failed."""
        request, device = answer.request, self._device
        if answer.outcome is not Outcome.OK:
            if _is_flush(answer):
                device.flush_failed(request.resets)
        elif request.kind in (Kind.FLUSH, Kind.COMMIT) and request.resets == device.own.resets:
            return answer._replace(outcome=device.flush_ended(alone=request.kind is Kind.FLUSH))
        return answer

    def _requests_nowait(self) -> Iterator[Request]:
        """Requests that begin now. A chain that is none stops the device."""
        device = self._device
        if self._resets != device.own.resets or not device.is_live:
            self._waiting.clear()
            self._is_behind_reset = self._is_behind_reset or self._resets != device.own.resets
            self._resets = device.own.resets
        self._is_behind_reset = self._is_behind_reset and bool(self._given)
        if self._is_behind_reset:
            return
        if not self._waiting:
            self._waiting.extend(self._requests.take(CHAINS_A_TURN))
        budget, segments = min(BYTES_A_TURN, MOST_BYTES - self._bytes), SEGMENTS_A_TURN
        while self._waiting and budget > 0 and segments > 0:
            chain = self._waiting.popleft()
            segments -= chain.segments
            try:
                request = device.read_request(chain)
            except DmaFault:
                device.fail(Cause.DMA_FAULT)
                return
            if request is None:
                device.fail(Cause.BAD_REQUEST)
                return
            budget -= request.size
            yield request

    def _at_once(self, request: Request) -> Answer | None:
        """What needs no thread. None: it does."""
        if self._failing and request.kind is not None:
            self._failing -= 1
            return Answer(request, ENDED.pack(0) if request.kind is Kind.COMMIT else b"", Outcome.IOERR)
        match request.kind:
            case Kind.IN if not (self._barriers or request.is_barrier):
                try:
                    data = self._medium.read_now(request.sector * SECTOR_BYTES, request.size)
                except OSError:
                    return Answer(request, outcome=Outcome.IOERR)
                return None if data is None else Answer(request, data)
            case Kind.GET_ID:
                return Answer(request, IDENTITY)
            case None:
                return Answer(request, outcome=request.outcome)
            case _:
                return None

    def _delivered(self, answers: Sequence[Answer]) -> Iterator[tuple[int, int]]:
        """Put data and status where the driver wants them: (head, bytes written) of each that could be."""
        device = self._device
        dma, resets = device.dma, device.own.resets
        for request, data, outcome in answers:
            if request.resets != resets:
                continue
            written = 0
            try:
                if data:
                    written = dma.scatter(request.into, data)
            except DmaFault:  # the buffer is gone: its owner's matter
                outcome = Outcome.IOERR
            try:
                dma.write(request.status.address, bytes((outcome,)))
            except DmaFault:
                device.fail(Cause.DMA_FAULT)
                return
            yield request.chain.head, written + 1


def _is_flush(answer: Answer) -> bool:
    """Whether it was a flush that has failed, alone or as a step of a commit."""
    kind, steps = answer.request.kind, answer.request.steps
    if kind is not Kind.COMMIT:
        return kind is Kind.FLUSH
    (ended,) = ENDED.unpack(answer.data)
    return not STEP.unpack_from(steps, STEP.size * ended)[1]
