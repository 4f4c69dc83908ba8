"""The disk's driver: a virtio block device by its ports, its interrupt and its IOSpace, offered as sectors.

Must be given: a device named ``disk`` with an IOSpace. Config: ``partitions`` gives clients their partition's number by
client; with it, who is not named has none, and without it everybody has the whole disk. ``readers`` lists clients that
cannot write. Clients' buffers are theirs: the driver maps them for the device and never looks into them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from libsel4py import component, on_notification
from libsel4py.context import ReplyToken
from libsel4py.dataspace import DataSpace, SharedMemory
from libsel4py.errors import KernelError
from libsel4py.interfaces.block import (
    MOST_BUFFER_BYTES,
    MOST_BUFFERS,
    MOST_REQUESTS,
    SECTOR_BYTES,
    BadRequest,
    Block,
    DiskError,
    Geometry,
    Request,
)
from libsel4py.lowlevel.cspace import OutOfSlots
from libsel4py.lowlevel.identify import identify
from libsel4py.signature import Word
from libsel4py.virtio import DmaMemory
from servers.block.disk import Disk
from servers.block.requests import MOST_SECTORS, Extent, checked
from servers.block.tables import extents


@dataclass(slots=True)
class _Buffer:
    """A client's data space, and where the device has it."""

    space: DataSpace
    memory: DmaMemory

    @property
    def is_alive(self) -> bool:
        return identify(self.space.frames[0].cptr).type == "FRAME"


@dataclass(slots=True)
class _Client:
    """What a client has attached, by number."""

    buffers: dict[int, _Buffer] = field(default_factory=dict)
    next: int = 1


class _Waiting:
    """A call that is answered when its last request has ended: at once, or by its token."""

    def __init__(self, count: int) -> None:
        self._left = count
        self.error: DiskError | None = None
        self.token: ReplyToken | None = None

    @property
    def is_over(self) -> bool:
        return not self._left

    def done(self, error: DiskError | None) -> None:
        self._left -= 1
        self.error = self.error or error
        if self._left or self.token is None:
            return
        if self.error is None:
            self.token.complete()
        else:
            self.token.fail(self.error)


@component
class Main(Block):
    """One disk."""

    def __init__(self) -> None:
        self._disk = Disk(self.task, self.task.environment.devices["disk"])
        self._clients: dict[int, _Client] = {}
        self._extents = extents(self._disk, self.task)

    def geometry(self) -> Geometry:
        extent = self._extent()
        return Geometry(SECTOR_BYTES, extent.sectors, extent.read_only, MOST_SECTORS)

    def attach(self, memory: SharedMemory) -> Word:
        self._extent()
        client = self._clients.setdefault(self.caller.badge, _Client())
        self._sweep(client)
        if len(client.buffers) == MOST_BUFFERS:
            raise BadRequest(f"a client has {MOST_BUFFERS} buffers at most: detach one")
        space = DataSpace.receive(memory, MOST_BUFFER_BYTES, self.task)
        try:
            mapped = self._disk.dma.map(space)
        except (KernelError, OutOfSlots, MemoryError) as error:
            space.close()
            raise DiskError(f"the driver has no room for this buffer: {error}") from error
        number = client.next
        client.next += 1
        client.buffers[number] = _Buffer(space, mapped)
        return Word(number)

    def detach(self, buffer: Word) -> None:
        self._drop(self._client(), buffer)

    def read(self, buffer: Word, offset: Word, sector: Word, count: Word) -> None:
        self._transfer(buffer, (Request(False, offset, sector, count),))

    def write(self, buffer: Word, offset: Word, sector: Word, count: Word) -> None:
        self._transfer(buffer, (Request(True, offset, sector, count),))

    def transfer(self, buffer: Word, requests: list[Request]) -> None:
        if len(requests) > MOST_REQUESTS:
            raise BadRequest(f"{len(requests)} requests in one call; {MOST_REQUESTS} are taken")
        self._transfer(buffer, requests)

    def flush(self) -> None:
        self._extent()
        waiting = _Waiting(1)
        self._disk.flush(waiting.done)
        self._finish(waiting)

    @on_notification("disk")
    def on_disk(self) -> None:
        """The device has interrupted."""
        self._disk.interrupted()

    # --- inside --------------------------------------------------------------------------------------------

    def _transfer(self, number: int, requests: list[Request] | tuple[Request, ...]) -> None:
        buffer = self._buffer(self._client(), number)
        pieces = checked(requests, self._extent(), buffer.space.size)
        if not pieces:
            return
        waiting = _Waiting(len(pieces))
        for piece in pieces:
            self._disk.read_write(piece, buffer.memory, waiting.done)
        self._finish(waiting)

    def _finish(self, waiting: _Waiting) -> None:
        """Let the disk work; the caller is answered now, or when the disk has done."""
        self._disk.kick()
        if not waiting.is_over:
            waiting.token = self.defer_reply()
        elif waiting.error is not None:
            raise waiting.error

    def _extent(self) -> Extent:
        """The caller's part of the disk. Raises BadRequest: it has none."""
        return self._extents.of(self.caller.name)

    def _client(self) -> _Client:
        found = self._clients.get(self.caller.badge)
        if found is None:
            raise BadRequest("attach a buffer first")
        return found

    def _buffer(self, client: _Client, number: int) -> _Buffer:
        found = client.buffers.get(number)
        if found is None:
            known = ", ".join(map(str, client.buffers)) or "none"
            raise BadRequest(f"there is no buffer {number}; this client has {known}")
        return found

    def _drop(self, client: _Client, number: int) -> None:
        buffer = self._buffer(client, number)
        del client.buffers[number]
        self._disk.dma.unmap(buffer.memory)
        buffer.space.close()

    def _sweep(self, client: _Client) -> None:
        """Drop buffers whose memory their owner has taken back, by its end for example."""
        for number in [number for number, buffer in client.buffers.items() if not buffer.is_alive]:
            self._drop(client, number)
