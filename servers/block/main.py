"""The disk's driver: a virtio block device by its ports, its interrupt and its IOSpace, offered as sectors.

Must be given: a device named ``disk`` with an IOSpace. Config: ``partitions`` gives clients their partition's number by
client; with it, who is not named has none, and without it everybody has the whole disk. ``readers`` lists clients that
cannot write. Clients' buffers are theirs: the driver maps them for the device and never looks into them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import msgspec

from libsel4py import component, on_notification
from libsel4py.context import ReplyToken
from libsel4py.dataspace import DataSpace, SharedMemory
from libsel4py.errors import KernelError, NotEnoughMemory, TooManyDeferred
from libsel4py.interfaces.block import (
    MOST_BUFFER_BYTES,
    MOST_BUFFER_FRAMES,
    MOST_BUFFERS,
    MOST_CALLS,
    MOST_EPOCHS,
    MOST_REQUESTS,
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
from libsel4py.watchdog import watchdog
from servers.block.disk import Disk
from servers.block.lives import Lives
from servers.block.requests import Extent, checked
from servers.block.tables import extents

LEAST_CLIENTS: Final = 8


@dataclass(slots=True, eq=False)
class _Buffer:
    """A client's data space, and where the device has it. ``used``: requests that the device may have for it."""

    space: DataSpace
    memory: DmaMemory
    used: int = 0
    is_gone: bool = False

    @property
    def is_alive(self) -> bool:
        return identify(self.space.frames[0].cptr).type == "FRAME"


@dataclass(slots=True, eq=False)
class _Client:
    """What a client has attached, by number, and how many calls of its are under way.

    ``written``: the disk's number of its last write that no commit flushes. ``is_in_doubt``: a flush failed behind it.
    """

    buffers: dict[int, _Buffer] = field(default_factory=dict)
    next: int = 1
    calls: int = 0
    written: int = 0
    is_in_doubt: bool = False

    def flushed(self, error: DiskError | None) -> DiskError | None:
        """What its flush comes to: one that ends well says nothing of what an earlier one may have lost."""
        if self.is_in_doubt and error is None:
            error = DiskError("another's flush has failed: what was written before it may be lost")
        self.is_in_doubt = False
        return error

    def has_room(self, frames: int) -> bool:
        """For one more buffer, of so many frames."""
        held = sum(len(buffer.space.frames) for buffer in self.buffers.values())
        return len(self.buffers) < MOST_BUFFERS and held + frames <= MOST_BUFFER_FRAMES


class _Call:
    """A call that is answered when its last request has ended: at once, or by its token."""

    def __init__(self, client: _Client, count: int, over: Callable[[], None] = lambda: None) -> None:
        client.calls += 1
        self._client = client
        self._left = count
        self._over = over
        self.error: DiskError | None = None
        self.token: ReplyToken | None = None

    @property
    def is_over(self) -> bool:
        return not self._left

    def done(self, error: DiskError | None) -> None:
        self._left -= 1
        self.error = self.error or error
        if self._left:
            return
        self._client.calls -= 1
        self._over()
        if self.token is None:
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
        self._lives = Lives()

    def start(self) -> None:
        """Look after the device, whose interrupts may be lost."""
        self.server.alarm = watchdog(lambda: self._disk.is_busy, self._disk.interrupted)
        self.server.allow_deferred(MOST_CALLS * max(LEAST_CLIENTS, len(self.server.connections)))
        self._disk.flush_lost = self._doubt

    def geometry(self) -> Geometry:
        extent = self._extent()
        return msgspec.structs.replace(extent.geometry, life=self._lives.of(self.caller.badge, extent))

    def attach(self, memory: SharedMemory) -> Word:
        self._extent()
        client = self._client()
        space = DataSpace.receive(memory, MOST_BUFFER_BYTES, self.task)
        try:
            self._ensure_room(client, len(space.frames))
            mapped = self._disk.dma.map(space)
        except BadRequest:
            space.close()
            raise
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

    def commit(self, buffer: Word, epochs: list[list[Request]]) -> None:
        if len(epochs) > MOST_EPOCHS or sum(map(len, epochs)) > MOST_REQUESTS:
            raise BadRequest(f"a commit has {MOST_EPOCHS} epochs and {MOST_REQUESTS} requests at most")
        if not all(epochs) or not all(each.write for epoch in epochs for each in epoch):
            raise BadRequest("an epoch has writes, and nothing else")
        client = self._ready_client()
        found = self._buffer(client, buffer)
        extent = self._extent()
        pieces = [checked(epoch, extent, found.space.size) for epoch in epochs]
        if not pieces:
            return
        call = self._begin(client, 1, found, extent)
        self._disk.commit(pieces, found.memory, call.done)
        self._finish(call)

    def flush(self) -> None:
        self._extent()
        client = self._ready_client()
        call = _Call(client, 1)
        self._disk.flush(lambda error: call.done(client.flushed(error)))
        self._finish(call)

    @on_notification("disk")
    def on_disk(self) -> None:
        """The device has interrupted."""
        self._disk.interrupted()

    # --- inside --------------------------------------------------------------------------------------------

    def _transfer(self, number: int, requests: list[Request] | tuple[Request, ...]) -> None:
        client = self._ready_client()
        buffer = self._buffer(client, number)
        extent = self._extent()
        pieces = checked(requests, extent, buffer.space.size)
        if not pieces:
            return
        writes = any(piece.write for piece in pieces)
        call = self._begin(client, len(pieces), buffer, extent if writes else None)
        for piece in pieces:
            self._disk.read_write(piece, buffer.memory, call.done)
            if piece.write:
                client.written = self._disk.number
        self._finish(call)

    def _begin(self, client: _Client, count: int, buffer: _Buffer, written: Extent | None) -> _Call:
        """A call of so many requests that use a buffer. ``written``: where they write."""
        badge = self.caller.badge

        def over() -> None:
            self._release(buffer)
            if written is not None:
                self._lives.writes(badge, written)

        if written is not None:
            self._lives.writes(badge, written)
        buffer.used += 1
        return _Call(client, count, over)

    def _finish(self, call: _Call) -> None:
        """Let the disk work; the caller is answered now, or when the disk has done.

        Not before, whatever is lacking here: until then the device reads and writes its memory.
        """
        self._disk.kick(lambda: call.is_over)
        if not call.is_over:
            try:
                call.token = self.defer_reply()
                return
            except (TooManyDeferred, NotEnoughMemory, OutOfSlots) as error:
                self.log.warning("all wait for a request of %s, who cannot be answered later: %s", self.caller, error)
            while not call.is_over:
                self._disk.interrupted()
        if call.error is not None:
            raise call.error

    def _doubt(self) -> None:
        """A flush has failed: whose writes were not on the medium yet is told at his next one."""
        for client in self._clients.values():
            client.is_in_doubt = client.is_in_doubt or client.written > self._disk.flushed

    def _extent(self) -> Extent:
        """The caller's part of the disk. Raises BadRequest: it has none."""
        return self._extents.of(self.caller.name)

    def _client(self) -> _Client:
        return self._clients.setdefault(self.caller.badge, _Client())

    def _ready_client(self) -> _Client:
        """The caller, who may have one more call under way. Raises BadRequest."""
        client = self._client()
        if client.calls >= MOST_CALLS:
            raise BadRequest(f"{client.calls} calls of {self.caller.name} are under way: wait for one of them")
        return client

    def _buffer(self, client: _Client, number: int) -> _Buffer:
        found = client.buffers.get(number)
        if found is None:
            known = ", ".join(map(str, client.buffers)) or "none"
            raise BadRequest(f"there is no buffer {number}; this client has {known}")
        return found

    def _drop(self, client: _Client, number: int) -> None:
        buffer = self._buffer(client, number)
        del client.buffers[number]
        self._disk.dma.withdraw(buffer.memory)
        buffer.space.close()
        buffer.is_gone = True
        buffer.used += 1
        self._release(buffer)

    def _release(self, buffer: _Buffer) -> None:
        """A call that used the buffer is over. The last one lets others have its addresses, if it is gone."""
        buffer.used -= 1
        if buffer.is_gone and not buffer.used:
            self._disk.dma.unmap(buffer.memory)

    def _ensure_room(self, client: _Client, frames: int) -> None:
        """Each frame is a mapping of the IOSpace, which all clients share. Raises BadRequest."""
        if not client.has_room(frames):
            self._sweep(client)
        if not client.has_room(frames):
            raise BadRequest(
                f"a client has {MOST_BUFFERS} buffers at most, of {MOST_BUFFER_FRAMES} frames together: detach one"
            )

    def _sweep(self, client: _Client) -> None:
        """Drop buffers whose memory their owner has taken back, by its end for example."""
        for number in [number for number, buffer in client.buffers.items() if not buffer.is_alive]:
            self._drop(client, number)
