"""The device: requests go to its queue, and their ends come back, by looking for a while and then by interrupt.

Rules. A request's header and status byte lie in slots of the driver's own memory, its data in a client's. Each request
ends in one call of its ``done``, whatever happens: a device that breaks its protocol, or asks for a reset, is reset,
and all that it had under way ends in `DiskError`. After `MOST_RESETS` without an end in between it is given up.

What the device fails is asked for again, `MOST_TRIES` times in all: a read, a write, an epoch of a commit with its
flush. A flush by itself is not: one that fails may have lost what was written before it, and a second one would not say
so. Therefore whoever has written and not flushed since then is told at his next flush (`flush_lost`, `flushed`).
"""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from libsel4py.capabilities import IOPort, IOSpace, IRQHandler
from libsel4py.dataspace import DataSpace
from libsel4py.environment import Device
from libsel4py.interfaces.block import MOST_EPOCHS, SECTOR_BYTES, DiskError
from libsel4py.task import Task
from libsel4py.virtio import BLOCK, DeviceRefused, DmaMemory, DmaSpace, DriverQueue, HostileDevice, Segment, VirtioPorts
from libsel4py.virtio.transport import CONFIGURATION_CHANGED
from servers.block.commits import COMMIT, COMMIT_BYTES, COMMIT_FEATURE, ENDED, HEADER, TABLE_BYTES, Commit, together
from servers.block.jobs import Done, Flight, Job, fits
from servers.block.requests import Piece

QUEUE_ENTRIES: Final = 128
MOST_JOINED: Final = 8  # requests that go as one
SLOTS: Final = QUEUE_ENTRIES // 3  # a request has three segments or more: header, data, status
SLOT_BYTES: Final = 32
QUEUE_BYTES: Final = 4096
COMMITS: Final = 4  # that the device has at a time
COMMITS_AT: Final = QUEUE_BYTES + SLOTS * SLOT_BYTES
OWN_BYTES: Final = COMMITS_AT + COMMITS * COMMIT_BYTES
STATUS_AT: Final = HEADER.size
IOERR: Final = 1  # a status: 0 is success, 2 that there is no such request, and 255 that the device has given none
IN, OUT, FLUSH = 0, 1, 4
BARRIER_FLUSH: Final = FLUSH | 1 << 31
BARRIER_FEATURE, RO_FEATURE, FLUSH_FEATURE = 1 << 0, 1 << 5, 1 << 9
LOOK_NS: Final = 150_000  # about what an interrupt costs from device to driver, with the wake-ups on its way
MOST_FLUSH_NS: Final = 1_000_000  # of flushes that are looked for as long as they take
MOST_RESETS: Final = 3
MOST_TRIES: Final = 4  # of one request: a medium that fails once may do better the next time, and a fifth rarely helps


class Disk:
    """A virtio block device of the task's, by its three capabilities.

    Attributes:
        sectors: of `SECTOR_BYTES`. read_only: the device takes no writes. dma: where clients' buffers are mapped.
        number: of the job that was begun last. flushed: writes with numbers up to this are on the medium.
        flush_lost: called when a flush has failed; writes behind ``flushed`` may be lost then.
    Raises:
        DeviceRefused: it is no such device.
    """

    def __init__(self, task: Task, device: Device) -> None:
        self._log = logging.getLogger(task.name)
        self._ports = VirtioPorts(IOPort(device.io_port), device.first_port)
        self._irq = IRQHandler(device.irq_handler)
        self.dma = DmaSpace(task, IOSpace(device.io_space))
        self._ports.reset()  # a former driver's device may be at work still
        self._space = DataSpace.allocate(OWN_BYTES, task)
        self._mapping = self._space.attach()
        self._memory: DmaMemory = self.dma.map(self._space)
        self._waiting: deque[Job] = deque()
        self._flushes: deque[Job] = deque()
        self._writes: dict[int, None] = {}  # numbers of those that have not ended, oldest first
        self._is_ending_all = False
        self.number = 0
        self.flushed = 0
        self.flush_lost: Callable[[], None] = lambda: None
        self._usual_flush_ns = 0  # from hand-over to end
        self._resets = 0
        self._given_up = ""
        self._begin()
        self.sectors = int.from_bytes(self._ports.configuration(0, 8), "little")

    def read_write(self, piece: Piece, buffer: DmaMemory, done: Done, *, alone: bool = False) -> None:
        """Begin a request; `kick` lets the device see it."""
        kind = OUT if piece.write else IN
        self.number += 1
        if piece.write:
            self._writes[self.number] = None
        data = Segment(buffer.address + piece.offset, piece.size)
        # A write that is alone is tried once: its commit sees to it.
        tries = MOST_TRIES if alone else 1
        self._waiting.append(Job(kind, piece.sector, data, done, self.number, alone, tries))

    def commit(self, epochs: Sequence[Sequence[Piece]], buffer: DmaMemory, done: Done, tries: int = 1) -> None:
        """Begin to write and flush each epoch before the next; ``done`` once, at the end or the first error.

        A device with commits gets as many epochs at a time as may go together. One with barriers gets an epoch's flush
        with its writes. They are not joined with others': what is joined is done again if it fails, which would be
        behind the flush. So is an epoch, as a whole: with its flush.
        """
        if self._has_commits and (count := together(epochs)):
            self._commit_together(epochs, count, buffer, done, tries)
            return
        epoch, *rest = epochs
        left, failure = len(epoch) + 1, None

        def ended(error: DiskError | None) -> None:
            nonlocal left, failure
            left, failure = left - 1, failure or error
            if left:
                return
            if failure is not None and tries < MOST_TRIES and not self._is_ending_all:
                self.commit(epochs, buffer, done, tries + 1)
            elif failure is not None or not rest:
                done(failure)
            else:
                self.commit(rest, buffer, done)

        for piece in epoch:
            self.read_write(piece, buffer, ended, alone=True)
        if not self._has_barriers:
            self.flush(ended)
            return
        self.number += 1
        self._waiting.append(Job(BARRIER_FLUSH, 0, None, ended, self.number, alone=True))

    def _commit_together(
        self, epochs: Sequence[Sequence[Piece]], count: int, buffer: DmaMemory, done: Done, tries: int
    ) -> None:
        """As `commit`, of so many epochs by one request. What fails is asked for again from that epoch on."""
        commit = Commit(epochs[:count], buffer.address)

        def ended(error: DiskError | None) -> None:
            good = count if error is None else commit.epochs_ended
            tried = 0 if good else tries
            if error is not None and (tried >= MOST_TRIES or self._is_ending_all):
                done(error)
            elif good == len(epochs):
                done(None)
            else:
                self.commit(epochs[good:], buffer, done, 1 if error is None else max(tried, 1) + 1)

        self.number += 1
        self._writes[self.number] = None
        self._waiting.append(Job(COMMIT, 0, None, ended, self.number, alone=True, commit=commit))

    def flush(self, done: Done) -> None:
        """Begin a flush of all writes that began before. (A device without the feature writes through.)"""
        self.number += 1
        self._flushes.append(Job(FLUSH, 0, None, done, self.number))

    def kick(self, is_over: Callable[[], bool]) -> None:
        """Hand the device what waits, and look for its ends until ``is_over``, or for a while.

        What takes longer ends with an interrupt.
        """
        if self._wants_interrupts:
            self._want_interrupts(False)
        self._send()
        now = time.perf_counter_ns()
        end = now + self._look_ns()
        while self._queue.pending and not is_over() and now < end:
            if self._collect():
                end = time.perf_counter_ns() + self._look_ns()
            else:
                os.sched_yield()  # the device's own thread may want this processor
            now = time.perf_counter_ns()
        self._wait_for_interrupt()

    @property
    def is_busy(self) -> bool:
        """The device has requests, and is to interrupt for them."""
        return bool(self._queue.pending)

    def interrupted(self) -> None:
        """The device's line is high, or should be: take what it has done, and let it interrupt again."""
        why = self._ports.acknowledge()
        self._want_interrupts(False)
        self._collect()
        if why & CONFIGURATION_CHANGED and self._ports.needs_reset:
            self._restart("it asks for a reset")
        self._wait_for_interrupt()
        if not self._given_up:  # or its line stays masked
            self._irq.ack()

    # --- inside --------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Set the device up, with an empty queue. Raises DeviceRefused."""
        self._mapping.write(0, bytes(QUEUE_BYTES))
        self._queue: DriverQueue[Flight] = DriverQueue(self._mapping, QUEUE_ENTRIES)
        self._slots = list(range(SLOTS))
        self._commit_slots = list(range(COMMITS))
        self._flushing = 0  # flushes that the device has
        features = self._ports.begin(BLOCK, BARRIER_FEATURE | RO_FEATURE | FLUSH_FEATURE | COMMIT_FEATURE)
        self._want_interrupts(False)
        address = self._memory.address
        parts = (0, DriverQueue.available_offset(QUEUE_ENTRIES), DriverQueue.used_offset(QUEUE_ENTRIES))
        self._ports.set_up_queue(0, QUEUE_ENTRIES, *(address + part for part in parts))
        self._ports.go()
        self.read_only = bool(features & RO_FEATURE)
        self._can_flush = bool(features & FLUSH_FEATURE)
        self._has_barriers = self._can_flush and bool(features & BARRIER_FEATURE)
        self._has_commits = self._can_flush and bool(features & COMMIT_FEATURE)
        self._irq.ack()

    def _look_ns(self) -> int:
        """How long to look: for flushes as long as they take besides, unless that is long."""
        usual = self._usual_flush_ns
        return LOOK_NS + usual * min(self._flushing, MOST_EPOCHS) if usual <= MOST_FLUSH_NS else LOOK_NS

    def _send(self) -> None:
        """Hand over what waits, as far as there is room."""
        if self._given_up:
            self._end_all([*self._waiting, *self._flushes], self._given_up)
            return
        while self._slots and self._queue.free >= MOST_JOINED + 2 and (jobs := self._next()):
            slots = self._slots if jobs[0].commit is None else self._commit_slots
            self._hand_over(Flight(jobs, slots.pop(), time.perf_counter_ns()))
        if self._queue.publish():
            self._ports.notify(0)

    def _next(self) -> list[Job]:
        """What goes next, as one request."""
        while self._flushes and self._oldest_write > self._flushes[0].number:
            job = self._flushes.popleft()
            if self._can_flush:
                return [job]
            self._end(job, None)
        if not self._waiting or not self._has_room(self._waiting[0].commit):
            return []
        jobs = [self._waiting.popleft()]
        while self._waiting and len(jobs) < MOST_JOINED and fits(jobs, self._waiting[0]):
            jobs.append(self._waiting.popleft())
        return jobs

    def _has_room(self, commit: Commit | None) -> bool:
        return commit is None or (bool(self._commit_slots) and len(commit.segments) + 2 <= self._queue.free)

    @property
    def _oldest_write(self) -> int:
        """The number of the first write that has not ended, or of the job that comes next."""
        return next(iter(self._writes), self.number + 1)

    def _hand_over(self, flight: Flight) -> None:
        first = flight.jobs[0]
        if first.commit is not None:
            self._hand_over_commit(flight, first.commit)
            return
        at = QUEUE_BYTES + flight.slot * SLOT_BYTES
        self._flushing += first.kind not in (IN, OUT)
        self._mapping.write(at, HEADER.pack(first.kind, 0, first.sector) + b"\xff")
        header = Segment(self._memory.address + at, HEADER.size)
        status = Segment(self._memory.address + at + STATUS_AT, 1)
        data = [job.data for job in flight.jobs if job.data is not None]
        if first.kind == OUT:
            self._queue.add((header, *data), (status,), flight)
        else:
            self._queue.add((header,), (*data, status), flight)

    def _hand_over_commit(self, flight: Flight, commit: Commit) -> None:
        at = COMMITS_AT + flight.slot * COMMIT_BYTES
        table = commit.table()
        self._flushing += commit.flushes
        self._mapping.write(at, table)
        self._mapping.write(at + TABLE_BYTES, ENDED.pack(0, 0xFF))
        address = self._memory.address + at
        answer = Segment(address + TABLE_BYTES, ENDED.size)
        self._queue.add((Segment(address, len(table)), *commit.segments), (answer,), flight)

    def _collect(self) -> bool:
        """Take what the device has done, and send what has waited for room; whether anything was done."""
        try:
            used = self._queue.used()
        except HostileDevice as error:
            self._restart(str(error))
            return True
        if not used:
            return False
        self._resets = 0
        for flight, _ in used:
            status = self._status(flight)
            if flight.jobs[0].kind not in (IN, OUT):
                self._flushed(flight, status)
            self._land(flight.jobs, status)
        self._send()
        return True

    def _status(self, flight: Flight) -> int:
        """What the device says of a request, whose slot is free again."""
        commit = flight.jobs[0].commit
        if commit is None:
            self._slots.append(flight.slot)
            return self._mapping.read(QUEUE_BYTES + flight.slot * SLOT_BYTES + STATUS_AT, 1)[0]
        self._commit_slots.append(flight.slot)
        at = COMMITS_AT + flight.slot * COMMIT_BYTES + TABLE_BYTES
        commit.ended, status = ENDED.unpack(self._mapping.read(at, ENDED.size))
        return int(status)

    def _flushed(self, flight: Flight, status: int) -> None:
        first = flight.jobs[0]
        commit = first.commit
        flushes = 1 if commit is None else commit.flushes
        self._flushing -= flushes
        if not status or (commit is not None and commit.epochs_ended):
            # A write before it that has failed, and is tried again, is not behind it.
            self.flushed = max(self.flushed, min(first.number, self._oldest_write - 1))
        if status and (commit is None or commit.failed_in_flush):
            self.flush_lost()
        took = (time.perf_counter_ns() - flight.begun_ns) // flushes
        self._usual_flush_ns = (3 * self._usual_flush_ns + took) // 4 if self._usual_flush_ns else took

    def _land(self, jobs: Sequence[Job], status: int) -> None:
        if status and len(jobs) > 1:
            for job in reversed(jobs):
                job.alone = True
                self._waiting.appendleft(job)
            return
        (first, *_) = jobs
        if status == IOERR and first.kind in (IN, OUT) and first.tries < MOST_TRIES:
            first.tries += 1
            self._waiting.appendleft(first)
            return
        for job in jobs:
            self._end(job, DiskError(f"the device answers with status {status}") if status else None)

    def _end(self, job: Job, error: DiskError | None) -> None:
        self._writes.pop(job.number, None)
        job.done(error)

    def _end_all(self, jobs: Sequence[Job], reason: str) -> None:
        self._waiting.clear()
        self._flushes.clear()
        self._is_ending_all = True
        for job in jobs:
            self._end(job, DiskError(reason))
        self._is_ending_all = False

    def _wait_for_interrupt(self) -> None:
        """Let the device interrupt for what it has still; what it has done meanwhile is taken now."""
        while self._queue.pending and self._want_interrupts(True):
            self._want_interrupts(False)
            self._collect()

    def _want_interrupts(self, wanted: bool) -> bool:
        self._wants_interrupts = wanted
        return self._queue.want_interrupts(wanted)

    def _restart(self, reason: str) -> None:
        """Reset a device that misbehaves. All that it had, and all that waits, ends in an error."""
        had = [job for flight in self._queue.drain() for job in flight.jobs]
        self._resets += 1
        try:
            if self._resets > MOST_RESETS:
                self._ports.reset()
                raise DeviceRefused(f"it was reset {MOST_RESETS} times, and has done nothing in between")
            self._begin()
            self._log.warning("the disk was reset: %s", reason)
        except DeviceRefused as error:
            self._given_up = f"the disk is given up: {reason}; {error}"
            self._log.error(self._given_up)
        self._end_all([*had, *self._waiting, *self._flushes], f"the disk was reset: {reason}")


assert SLOTS * SLOT_BYTES <= QUEUE_BYTES
assert SECTOR_BYTES == 512
