"""A network interface's driver without a stack: gives each UDP datagram back, and says on the UART how many."""

from __future__ import annotations

from libsel4py import Component, component
from libsel4py.capabilities import IOPort, IOSpace, IRQHandler
from libsel4py.dataspace import DataSpace
from libsel4py.virtio import NETWORK, DmaSpace, DriverQueue, Segment, VirtioPorts

LINE_STATUS, TRANSMITTER_EMPTY = 5, 0x40
ENTRIES = 16
BUFFERS = 8
BUFFER_BYTES = 2048
QUEUE_BYTES = 4096
HEADER = 12
MAC = 1 << 5


@component
class Main(Component):
    def run(self) -> int:
        device = self.task.environment.devices["net"]
        self.ports = VirtioPorts(IOPort(device.io_port), device.first_port)
        interrupt = IRQHandler(device.irq_handler)
        memory = DataSpace.allocate(2 * QUEUE_BYTES + 2 * BUFFERS * BUFFER_BYTES)
        self.mapping = memory.attach()
        self.at = DmaSpace(self.task, IOSpace(device.io_space)).map(memory).address
        self.ports.begin(NETWORK, 0, MAC)
        self.mac = self.ports.configuration(0, 6)
        self.receive: DriverQueue[int] = self.queue(0)
        self.transmit: DriverQueue[int] = self.queue(1)
        interrupt.ack()
        self.ports.go()
        for number in range(BUFFERS):
            self.receive.add((), (Segment(self.place(number), BUFFER_BYTES),), number)
        self.receive.publish()
        self.ports.notify(0)
        self.say(f"mac {self.mac.hex(':')}\n")
        echoed = 0
        while True:
            self.transmit.used()
            for number, written in self.receive.used():
                echoed += self.answered(number, written)
                self.receive.add((), (Segment(self.place(number), BUFFER_BYTES),), number)
            if self.receive.publish():
                self.ports.notify(0)
                continue
            if echoed == 3:
                self.say("echoed 3\n")
            self.task.notification.wait()
            self.ports.acknowledge()
            interrupt.ack()

    def answered(self, number: int, written: int) -> bool:
        """Send a UDP datagram back where it came from: the sums do not change with that."""
        offset = self.place(number) - self.at
        frame = self.mapping.read(offset, written)[HEADER:]
        if frame[12:14] != b"\x08\0" or frame[23] != 17:
            return False
        answer = frame[6:12] + self.mac + frame[12:26] + frame[30:34] + frame[26:30] + frame[36:38] + frame[34:36]
        answer += frame[38:]
        place = offset + BUFFERS * BUFFER_BYTES
        self.mapping.write(place, bytes(HEADER) + answer)
        self.transmit.add((Segment(self.at + place, HEADER + len(answer)),), (), number)
        self.transmit.publish()
        self.ports.notify(1)
        return True

    def queue(self, index: int) -> DriverQueue[int]:
        made: DriverQueue[int] = DriverQueue(self.mapping, ENTRIES, index * QUEUE_BYTES)
        at = self.at + index * QUEUE_BYTES
        self.ports.set_up_queue(index, ENTRIES, at, at + made.available_offset(ENTRIES), at + made.used_offset(ENTRIES))
        return made

    def place(self, number: int) -> int:
        return self.at + 2 * QUEUE_BYTES + number * BUFFER_BYTES

    def say(self, text: str) -> None:
        device = self.task.environment.devices["uart"]
        port, base = IOPort(device.io_port), device.first_port
        for byte in text.encode():
            while not port.in8(base + LINE_STATUS) & TRANSMITTER_EMPTY:
                pass
            port.out8(base, byte)
