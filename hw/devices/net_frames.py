"""A network interface's back end: moves frames between the device's queues and a descriptor of frames.

A descriptor of frames gives and takes an Ethernet frame a read and a write: a SOCK_SEQPACKET socket, or a tap device.

Rules. Nothing blocks, and a turn of the event loop is bounded: `FRAMES_A_TURN`, about `BYTES_A_TURN`, and as many
segments as the queue gives at a time, each way. The descriptor is read only while the driver has offered buffers, so
what waits stays with the host; a frame for which the buffer is too small is dropped, counted, and the buffer is used
for the next one. What the descriptor does not take waits with its chain. When the other side has gone the link is down:
what is sent is dropped, as on a cable that hangs.

What is in the commonest form (each frame in one descriptor, all of a turn's mapped and as they should be) C moves,
between RAM and the descriptor without a copy here (`hw/_net`). It takes no chain that it does not give back in the same
transaction. For all else, and while chains are under way, it leaves the turn to what stands here, which says what
everything means. Behind its driver's notification the device has such a turn at once, by the kernel's loop in C
(`kicked_in_c`); where that leaves something, the turn is had here.

Memory of frames may be a driver's client's, and be gone: a frame that cannot be reached is not sent, and a buffer that
cannot be is given back with nothing in it.

A kernel that dies may send the frames of its last turn twice, and lose those that it was receiving: Ethernet may.
"""

from __future__ import annotations

import asyncio
import errno
import os
from array import array
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final

from hw import _net
from hw.devices.bus import IoBus
from hw.devices.net import DROPPED, Net
from hw.devices.virtio_registers import Cause
from hw.devices.virtqueue import Chain
from hw.interrupts import Trigger

FRAMES_A_TURN: Final = 64
BYTES_A_TURN: Final = 1 << 20
HELD, RESETS, BLOCKED, QUIET = range(4)  # words of the desk (hw/_net/mover.h)


class NetFrames:
    """Joins a device to a descriptor, which stays the caller's. `changed` is called when the device's line may have."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        bus: IoBus,
        device: Net,
        descriptor: int,
        changed: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._bus = bus
        self._device = device
        self._descriptor = descriptor
        self._changed = changed
        os.set_blocking(descriptor, False)
        self._desk = desk = array("Q", bytes(8 * (QUIET + 1)))
        desk[RESETS] = device.own.resets
        self._mover = _net.Mover(
            device.ram,
            device.address,
            device.dma.table,
            device.dma.counts,
            desk,
            descriptor,
            device.longest_frame,
            FRAMES_A_TURN,
            BYTES_A_TURN,
        )
        self._queues = (device.receive_queue, device.transmit_queue)
        for queue in self._queues:
            queue.recover(bus)
        self._buffers: deque[Chain] = deque()
        self._outgoing: deque[Chain] = deque()
        self._soon: asyncio.Handle | None = None
        self._reads = self._writes = False
        self._readable = False
        self._received = self._sent = 0  # chains given back in this turn
        self._closed = False
        self._losing = 0  # of the next frames
        self._hold()
        if device.own.is_down:  # the descriptor is another one now, perhaps
            bus.change(device, device.link_began)
        self.kicked()

    def kicked(self) -> None:
        """Go on with what the driver wants."""
        if self._soon is None and not self._closed:
            self._soon = self._loop.call_soon(self._turn)

    @property
    def kicked_in_c(self) -> object:
        """A capsule, by which C has a turn of this (hw/_ram/kicked.h)."""
        return self._mover.kicked()

    def lose_next(self, count: int) -> None:
        """Fault injection: so many of the next frames, of both directions together, do not arrive."""
        self._losing += count
        self._hold()

    @property
    def losing(self) -> int:
        """How many of the next frames will be lost so."""
        return self._losing

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._hold()
        if self._soon is not None:
            self._soon.cancel()
        self._watch(reads=False, writes=False)

    # --- a turn --------------------------------------------------------------------------------------------

    def _is_readable(self) -> None:
        self._readable = True
        self._turn()

    def _is_writable(self) -> None:
        self._desk[BLOCKED] = 0
        self._turn()

    def _turn(self) -> None:
        if self._soon is not None:
            self._soon.cancel()
            self._soon = None
        moved = self._turn_in_c()
        if moved & _net.LEFT:
            self._turn_here(moved != _net.LEFT)
            return
        self._readable = False
        if moved & _net.MORE:
            self.kicked()
        self._watch(reads=not moved & _net.STARVED, writes=bool(self._desk[BLOCKED]))
        if moved & (_net.MOVED | _net.HIGH):
            self._bus.lines.update(self._device.irq)
            self._changed()

    def _turn_in_c(self) -> int:
        try:
            with self._bus.turn_of(self._device.number):
                return self._mover.turn(self._readable)
        except BaseException:
            self._device.ram.recover()
            raise

    def _turn_here(self, was_moved: bool) -> None:
        device = self._device
        was_live = device.is_live
        self._bus.change(device, self._work)
        self._hold()
        if self._sent:
            device.transmit_queue.publish(self._bus)
        if self._received:
            device.receive_queue.publish(self._bus)
        if device.is_live:
            blocked = bool(self._desk[BLOCKED])
            if not blocked and (self._outgoing or device.transmit_queue.has_more()):
                self.kicked()
            waits = self._has_buffers()
            self._watch(reads=waits and not device.own.is_down, writes=blocked)
        else:
            self._watch(reads=False, writes=False)
        if was_moved or self._sent or self._received or (was_live and not device.is_live) or device.own.is_down:
            self._changed()

    def _hold(self) -> None:
        """Say whether all turns are to be had here."""
        is_edge = self._device.trigger is not Trigger.LEVEL  # which is to be sampled in each transaction
        taken = bool(self._buffers or self._outgoing or any(queue.is_behind for queue in self._queues))
        self._desk[HELD] = bool(self._closed or self._losing or taken or is_edge)

    def _has_buffers(self) -> bool:
        """Whether there is a buffer for the next frame; if not, the driver notifies the device of one."""
        queue = self._device.receive_queue
        if not self._buffers and not queue.has_more():
            self._desk[QUIET] = 0
            return queue.want_kicks(self._bus, True)
        if not self._desk[QUIET]:
            self._desk[QUIET] = 1
            queue.want_kicks(self._bus, False)
        return True

    def _watch(self, reads: bool, writes: bool) -> None:
        if reads != self._reads:
            self._reads = reads
            if reads:
                self._loop.add_reader(self._descriptor, self._is_readable)
            else:
                self._loop.remove_reader(self._descriptor)
        if writes != self._writes:
            self._writes = writes
            if writes:
                self._loop.add_writer(self._descriptor, self._is_writable)
            else:
                self._loop.remove_writer(self._descriptor)

    # --- inside the transaction ----------------------------------------------------------------------------

    def _work(self) -> None:
        device = self._device
        self._sent = self._received = 0
        desk = self._desk
        if desk[RESETS] != device.own.resets or not device.is_live:
            self._buffers.clear()
            self._outgoing.clear()
            desk[BLOCKED] = desk[QUIET] = 0
            desk[RESETS] = device.own.resets
        if not device.is_live:
            return
        sent = list(self._transmitted())
        self._sent = len(sent)
        device.transmit_queue.give_back(sent)
        if self._readable and device.is_live:
            received = list(self._arrived())
            self._received = len(received)
            device.receive_queue.give_back(received)

    def _transmitted(self) -> Iterator[tuple[int, int]]:
        """Send what the driver offers: (head, 0) of each chain that is done."""
        device, budget = self._device, BYTES_A_TURN
        if self._desk[BLOCKED]:
            return
        if not self._outgoing:
            self._outgoing.extend(device.transmit_queue.take(FRAMES_A_TURN))
        while self._outgoing and budget > 0:
            frame = device.frame_of(self._outgoing[0])
            if frame is None:
                device.fail(Cause.BAD_REQUEST)
                return
            if frame and not self._write(frame):
                self._desk[BLOCKED] = 1
                return
            budget -= len(frame)
            yield self._outgoing.popleft().head, 0

    def _write(self, frame: memoryview) -> bool:
        """Whether a frame is gone, or nobody is there to get it. False: it has to wait."""
        device = self._device
        if device.own.is_down or self._is_lost():
            return True
        try:
            os.write(self._descriptor, frame)
        except BlockingIOError:
            return False
        except OSError as error:
            if isinstance(error, (BrokenPipeError, ConnectionError)):
                device.link_ended()
            else:  # a tap that is not up says so for each frame
                device.own.refused = device.own.refused + 1
            return True
        device.count_sent(len(frame))
        return True

    def _arrived(self) -> Iterator[tuple[int, int]]:
        """Take what has come, as far as there are buffers: (head, bytes written) of each that is used."""
        device, budget = self._device, BYTES_A_TURN
        self._readable = False
        if not self._buffers:
            self._buffers.extend(device.receive_queue.take(FRAMES_A_TURN))
        for _ in range(FRAMES_A_TURN):
            if not self._buffers or budget <= 0:
                return
            frame = self._read()
            if frame is None:
                return
            if self._is_lost():
                continue
            written = device.deliver(self._buffers[0], frame)
            if written is None:
                device.fail(Cause.BAD_REQUEST)
                return
            budget -= len(frame)
            if written != DROPPED:
                yield self._buffers.popleft().head, written

    def _read(self) -> bytes | None:
        """A frame; None: there is none now, or there will be none any more."""
        try:
            frame = os.read(self._descriptor, self._device.longest_frame + 1)  # one that is longer is seen to be
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno == errno.EIO:  # a tap that was taken down may come up again
                return None
            frame = b""
        if not frame:
            self._device.link_ended()
            return None
        return frame

    def _is_lost(self) -> bool:
        if not self._losing:
            return False
        self._losing -= 1
        return True
