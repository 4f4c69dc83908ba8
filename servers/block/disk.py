"""The device: requests go to its queue, and their ends come back, by looking for a while and then by interrupt.

Rules. A request's header and status byte lie in slots of the driver's own memory, its data in a client's. Each request
ends in one call of its ``done``, whatever happens: a device that breaks its protocol, or asks for a reset, is reset,
and all that it had under way ends in `DiskError`. After `LEAST_LIFE` resets without an end in between it is given up.
"""

from __future__ import annotations

import struct
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from libsel4py.capabilities import IOPort, IOSpace, IRQHandler
from libsel4py.dataspace import DataSpace
from libsel4py.environment import Device
from libsel4py.interfaces.block import SECTOR_BYTES, DiskError
from libsel4py.task import Task
from libsel4py.virtio import BLOCK, DmaMemory, DmaSpace, DriverQueue, HostileDevice, Segment, VirtioPorts
from servers.block.requests import Piece

QUEUE_ENTRIES: Final = 128
SLOTS: Final = QUEUE_ENTRIES // 3  # a request has three segments: header, data, status
SLOT_BYTES: Final = 32
QUEUE_BYTES: Final = 4096
HEADER: Final = struct.Struct("<IIQ")
STATUS_AT: Final = HEADER.size
IN, OUT, FLUSH = 0, 1, 4
RO_FEATURE, FLUSH_FEATURE = 1 << 5, 1 << 9
LOOK_NS: Final = 150_000  # about what an interrupt costs from device to driver, with the wake-ups on its way
LEAST_LIFE: Final = 3

Done = Callable[[DiskError | None], None]


@dataclass(slots=True)
class _Job:
    """A request on its way: what it is, where its data is, and who waits. ``slot`` while the device has it."""

    kind: int
    sector: int
    data: Segment | None
    done: Done
    slot: int = -1


class Disk:
    """A virtio block device of the task's, by its three capabilities.

    Attributes:
        sectors: of `SECTOR_BYTES`. read_only: the device takes no writes. dma: where clients' buffers are mapped.
    Raises:
        DeviceRefused: it is no such device.
    """

    def __init__(self, task: Task, device: Device) -> None:
        self._ports = VirtioPorts(IOPort(device.io_port), device.first_port)
        self._irq = IRQHandler(device.irq_handler)
        self.dma = DmaSpace(task, IOSpace(device.io_space))
        self._ports.reset()  # a former driver's device may be at work still
        self._space = DataSpace.allocate(QUEUE_BYTES + SLOTS * SLOT_BYTES, task)
        self._mapping = self._space.attach()
        self._memory: DmaMemory = self.dma.map(self._space)
        self._waiting: deque[_Job] = deque()
        self._resets = 0
        self._begin()

    def read_write(self, piece: Piece, buffer: DmaMemory, done: Done) -> None:
        """Begin a request; `kick` lets the device see it."""
        kind = OUT if piece.write else IN
        self._waiting.append(_Job(kind, piece.sector, Segment(buffer.address + piece.offset, piece.size), done))

    def flush(self, done: Done) -> None:
        """Begin a flush of all that was done before."""
        if self._can_flush:
            self._waiting.append(_Job(FLUSH, 0, None, done))
        else:
            done(None)  # a device without the feature writes through

    def kick(self) -> None:
        """Hand the device what waits, and look for its ends for a while; what takes longer ends with an interrupt."""
        self._send()
        end = time.perf_counter_ns() + LOOK_NS
        while self._queue.pending and time.perf_counter_ns() < end:
            if self._collect():
                end = time.perf_counter_ns() + LOOK_NS
        if self._queue.pending and self._queue.want_interrupts(True):
            self._collect()

    def interrupted(self) -> None:
        """The device's line is high: take what it has done, and let it interrupt again."""
        self._ports.acknowledge()
        self._queue.want_interrupts(False)
        self._collect()
        if self._queue.pending and self._ports.needs_reset:
            self._restart("it asks for a reset")
        if self._queue.pending and self._queue.want_interrupts(True):
            self._collect()
        self._irq.ack()

    # --- inside --------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """Set the device up, with an empty queue."""
        features = self._ports.begin(BLOCK, RO_FEATURE | FLUSH_FEATURE)
        self._mapping.write(0, bytes(QUEUE_BYTES))
        self._queue: DriverQueue[_Job] = DriverQueue(self._mapping, QUEUE_ENTRIES)
        self._queue.want_interrupts(False)
        self._slots = list(range(SLOTS))
        address = self._memory.address
        parts = (0, DriverQueue.available_offset(QUEUE_ENTRIES), DriverQueue.used_offset(QUEUE_ENTRIES))
        self._ports.set_up_queue(0, QUEUE_ENTRIES, *(address + part for part in parts))
        self._ports.go()
        self.read_only = bool(features & RO_FEATURE)
        self._can_flush = bool(features & FLUSH_FEATURE)
        self.sectors = int.from_bytes(self._ports.configuration(0, 8), "little")
        self._irq.ack()

    def _send(self) -> None:
        while self._waiting and self._slots:
            job = self._waiting.popleft()
            job.slot = self._slots.pop()
            at = QUEUE_BYTES + job.slot * SLOT_BYTES
            self._mapping.write(at, HEADER.pack(job.kind, 0, job.sector) + b"\xff")
            header = Segment(self._memory.address + at, HEADER.size)
            status = Segment(self._memory.address + at + STATUS_AT, 1)
            if job.data is None:
                self._queue.add((header,), (status,), job)
            elif job.kind == OUT:
                self._queue.add((header, job.data), (status,), job)
            else:
                self._queue.add((header,), (job.data, status), job)
        if self._queue.publish():
            self._ports.notify(0)

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
        for job, _ in used:
            status = self._mapping.read(QUEUE_BYTES + job.slot * SLOT_BYTES + STATUS_AT, 1)[0]
            self._slots.append(job.slot)
            job.done(DiskError(f"the device answers with status {status}") if status else None)
        self._send()
        return True

    def _restart(self, reason: str) -> None:
        """Reset a device that misbehaves. All that it had, and all that waits, ends in an error."""
        self._ports.reset()
        self._resets += 1
        ended = [*self._queue.drain(), *self._waiting]
        self._waiting.clear()
        if self._resets <= LEAST_LIFE:
            self._begin()
        for job in ended:
            job.done(DiskError(f"the disk was reset: {reason}"))


assert SLOTS * SLOT_BYTES <= QUEUE_BYTES
assert SECTOR_BYTES == 512
