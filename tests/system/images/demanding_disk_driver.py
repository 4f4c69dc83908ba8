"""A disk's driver that asks for as much as the device can do, without an end, and sleeps meanwhile."""

from __future__ import annotations

from typing import Final

from libsel4py import Component, component
from libsel4py.capabilities import IOPort, IOSpace, IRQHandler
from libsel4py.dataspace import DataSpace
from libsel4py.virtio import BLOCK, DmaSpace, DriverQueue, Segment, VirtioPorts

SIZE: Final = 16  # of the queue
PAGE: Final = 4096
BYTES: Final = 1 << 19  # of a request
REQUESTS: Final = 4
HEADER, STATUS = PAGE - 64, PAGE - 32  # in the queue's page; a header of zeroes reads from the first sector on


@component
class Main(Component):
    def run(self) -> int:
        device = self.task.environment.devices["disk"]
        ports, irq = VirtioPorts(IOPort(device.io_port), device.first_port), IRQHandler(device.irq_handler)
        dma = DmaSpace(self.task, IOSpace(device.io_space))
        page, data = DataSpace.allocate(PAGE), DataSpace.allocate(BYTES)
        queue: DriverQueue[None] = DriverQueue(page.attach(), SIZE)
        at, into = dma.map(page).address, dma.map(data).address
        ports.begin(BLOCK, 0)
        ports.set_up_queue(0, SIZE, at, at + queue.available_offset(SIZE), at + queue.used_offset(SIZE))
        irq.ack()
        ports.go()
        while True:
            while queue.pending < REQUESTS:
                queue.add([Segment(at + HEADER, 16)], [Segment(into, BYTES), Segment(at + STATUS, 1)], None)
            queue.publish()
            ports.notify(0)
            self.task.notification.wait()
            ports.acknowledge_used(irq)
            queue.used()
