"""A disk's driver that breaks the queue's rules in several ways, and says on the UART that it has survived."""

from __future__ import annotations

import random
import struct

from libsel4py import Component, component
from libsel4py.capabilities import IOPort, IOSpace, IRQHandler
from libsel4py.dataspace import DataSpace
from libsel4py.virtio import BLOCK, DmaSpace, VirtioPorts

LINE_STATUS, TRANSMITTER_EMPTY = 5, 0x40
BYTES = 4096
SIZE = 8
AVAILABLE, USED, HEADER = 1024, 2048, 3072
NEXT, WRITE = 1, 2
ROUNDS = 40


@component
class Main(Component):
    def run(self) -> int:
        device = self.task.environment.devices["disk"]
        self.ports = VirtioPorts(IOPort(device.io_port), device.first_port)
        self.interrupt = IRQHandler(device.irq_handler)
        self.memory = DataSpace.allocate(BYTES)
        self.mapping = self.memory.attach()
        self.at = DmaSpace(self.task, IOSpace(device.io_space)).map(self.memory).address
        header = struct.pack("<QIHH", self.at + HEADER, 16, NEXT, 1)
        self.breaks(header + struct.pack("<QIHH", self.at + HEADER, 16, 0, 0), 1)  # no status
        self.breaks(header + struct.pack("<QIHH", self.at + HEADER, 1, NEXT, 0), 1)  # a loop
        self.breaks(header + struct.pack("<QIHH", self.at + BYTES, 1, WRITE, 0), 1)  # a status that is not mapped
        self.breaks(header, 100)
        randomly = random.Random(5)
        for _ in range(ROUNDS):
            self.breaks(randomly.randbytes(1000), randomly.randrange(1, 1 << 16))
        self.say("survived\n")
        while True:
            self.task.notification.wait()

    def breaks(self, descriptors: bytes, available: int) -> None:
        """Give the device such a queue, and wait until it interrupts for that."""
        self.ports.begin(BLOCK, 0)
        self.mapping.write(0, bytes(BYTES))
        self.mapping.write(0, descriptors)
        self.mapping.write(AVAILABLE, struct.pack("<HH", 0, available))
        self.ports.set_up_queue(0, SIZE, self.at, self.at + AVAILABLE, self.at + USED)
        self.interrupt.ack()
        self.ports.go()
        self.ports.notify(0)
        while not self.ports.needs_reset:
            self.task.notification.wait()
            self.ports.acknowledge()
            self.interrupt.ack()

    def say(self, text: str) -> None:
        device = self.task.environment.devices["uart"]
        port, base = IOPort(device.io_port), device.first_port
        for byte in text.encode():
            while not port.in8(base + LINE_STATUS) & TRANSMITTER_EMPTY:
                pass
            port.out8(base, byte)
