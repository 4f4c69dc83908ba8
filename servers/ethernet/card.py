"""The device: a virtio network card by its ports, its interrupt and its IOSpace.

Source: VIRTIO 1.2, section 5.1: queue 0 receives, queue 1 sends, each frame is behind a header of 12 bytes.

Rules. A card that is reset has forgotten all buffers that it was given, and touches no memory: that is how buffers are
taken back. After `LEAST_LIFE` resets by the card's own fault without a frame in between it is given up.
"""

from __future__ import annotations

from typing import Final, Generic, TypeVar

from libsel4py.capabilities import IOPort, IOSpace, IRQHandler
from libsel4py.dataspace import DataSpace
from libsel4py.environment import Device
from libsel4py.interfaces.ethernet import MOST_BUFFERS, CardFailed
from libsel4py.task import Task
from libsel4py.virtio import NETWORK, DmaSpace, DriverQueue, VirtioPorts
from libsel4py.virtio.transport import CONFIGURATION_CHANGED

Received = TypeVar("Received")
Sent = TypeVar("Sent")

RECEIVE, SEND = 0, 1
HEADER_BYTES: Final = 12
NO_HEADER: Final = bytes(HEADER_BYTES)  # no checksum to be made, no segments to be cut
QUEUE_BYTES: Final = 8192
MTU_FEATURE, MAC_FEATURE, STATUS_FEATURE = 1 << 3, 1 << 5, 1 << 16
LINK_UP: Final = 1
USUAL_MTU: Final = 1500
LEAST_LIFE: Final = 3


class Card(Generic[Received, Sent]):
    """The card of a task, by its device's three capabilities.

    Attributes:
        mac: its address. mtu: bytes of the largest packet. is_up: there is a link. dma: where buffers are mapped.
        received, sent: its queues, empty after each `begin`.
    Raises:
        DeviceRefused: it is no such device.
    """

    received: DriverQueue[Received]
    sent: DriverQueue[Sent]

    def __init__(self, task: Task, device: Device) -> None:
        self._ports = VirtioPorts(IOPort(device.io_port), device.first_port)
        self._irq = IRQHandler(device.irq_handler)
        self.dma = DmaSpace(task, IOSpace(device.io_space))
        self._ports.reset()  # a former driver's card may be at work still
        self._space = DataSpace.allocate(2 * QUEUE_BYTES, task)
        self._mapping = self._space.attach()
        self._address = self.dma.map(self._space).address
        self._failures = 0
        self.begin()

    def begin(self) -> None:
        """Reset the card, and set it up with empty queues. Raises DeviceRefused."""
        features = self._ports.begin(NETWORK, MAC_FEATURE | MTU_FEATURE | STATUS_FEATURE, MAC_FEATURE)
        self._mapping.write(0, bytes(2 * QUEUE_BYTES))
        self._has_status = bool(features & STATUS_FEATURE)
        self.received = self._queue(RECEIVE)
        self.sent = self._queue(SEND)
        self._ports.go()
        self.mac = self._ports.configuration(0, 6)
        mtu = int.from_bytes(self._ports.configuration(10, 2), "little") if features & MTU_FEATURE else 0
        self.mtu = mtu or USUAL_MTU
        self.look_at_link()
        self._irq.ack()

    def _queue(self, index: int) -> DriverQueue:  # type: ignore[type-arg]  # of what it is, its user says
        at = index * QUEUE_BYTES
        queue: DriverQueue[object] = DriverQueue(self._mapping, MOST_BUFFERS, at)
        queue.want_interrupts(False)
        parts = (0, DriverQueue.available_offset(MOST_BUFFERS), DriverQueue.used_offset(MOST_BUFFERS))
        self._ports.set_up_queue(index, MOST_BUFFERS, *(self._address + at + part for part in parts))
        return queue

    def notify(self, queue: int) -> None:
        """There is something new in a queue."""
        self._ports.notify(queue)

    def acknowledge(self) -> None:
        """Take the card's interrupt; its queues give none until they are said to want them again.

        Raises CardFailed: it asks for a reset.
        """
        self.received.want_interrupts(False)
        self.sent.want_interrupts(False)
        if self._ports.acknowledge_used(self._irq) & CONFIGURATION_CHANGED:
            if self._ports.needs_reset:
                raise CardFailed("the card asks for a reset")
            self.look_at_link()

    def look_at_link(self) -> None:
        """See whether there is a link."""
        status = int.from_bytes(self._ports.configuration(6, 2), "little") if self._has_status else LINK_UP
        self.is_up = bool(status & LINK_UP)

    def failed(self) -> None:
        """It does not keep to the rules: begin anew. Raises CardFailed: it has done so too often."""
        self._failures += 1
        if self._failures > LEAST_LIFE:
            self._ports.reset()
            raise CardFailed(f"the card has failed {self._failures} times without a frame in between: it is given up")
        self.begin()

    def works(self) -> None:
        """A frame has come or gone."""
        self._failures = 0


assert DriverQueue.bytes_of(MOST_BUFFERS) <= QUEUE_BYTES
