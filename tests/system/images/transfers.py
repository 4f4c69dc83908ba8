"""A driver of the entropy device: what its device reaches by DMA, and what it does not.

It says on the UART when all went as it should, and where its frames are; then it waits, so that RAM can be looked at.
"""

from __future__ import annotations

from hw.cpu import Mapping
from libsel4py import Component, component
from libsel4py.abi import MAPPING_BASE, CapType, ObjectType, Rights
from libsel4py.capabilities import Frame, IOPort, IOSpace, IRQHandler, Untyped, VSpace
from libsel4py.environment import Slot
from libsel4py.errors import DeleteFirst
from libsel4py.lowlevel.identify import identify

# The device's registers and bits: hw/devices/entropy.py.
STATUS, CONTROL, FAULT_KIND, ADDRESS_LOW, ADDRESS_HIGH, LENGTH, COUNT, FAULT_LOW, FAULT_HIGH = (
    *(4, 5, 6),
    *(8, 12, 16, 20, 24, 28),
)
DONE, FAULT = 1, 2
GO, INTERRUPT = 1, 2
NOT_MAPPED, WRITE_DENIED = 1, 3
PAGE = 4096
LINE_STATUS, TRANSMITTER_EMPTY = 5, 0x40
AT = 0x7_0000_0000  # where the device sees the first frame
LENGTHS = 5000  # more than a page


@component
class Main(Component):
    def run(self) -> int:
        device = self.task.environment.devices["rng"]
        self.ports, self.base = IOPort(device.io_port), device.first_port
        self.interrupt = IRQHandler(device.irq_handler)
        self.signal = device.signal
        self.space = IOSpace(device.io_space)
        assert identify(self.space.cptr).type == CapType.IO_SPACE.name
        assert self.transfer(AT, 1) == (FAULT, 0)  # in a second life, too: nothing of the first is mapped
        filled, foreign = self.fills_its_frames(), self.reaches_nothing_else()
        self.loses_them()
        self.is_seen()
        self.say(f"filled {filled[0]:x} {filled[1]:x} foreign {foreign:x} done\n")
        while True:
            self.task.notification.wait()

    def fills_its_frames(self) -> tuple[int, int]:
        """Two frames that are neighbours for the device alone, and one transfer over both."""
        first, between, second = (self.frame() for _ in range(3))
        first.map_io(AT, io_space=self.space)
        second.map_io(AT + PAGE, io_space=self.space)
        assert second.get_address() != first.get_address() + PAGE, between
        assert self.transfer(AT, LENGTHS) == (DONE, LENGTHS)
        return first.get_address(), second.get_address()

    def reaches_nothing_else(self) -> int:
        """Foreign addresses, a read-only mapping, and a transfer that would run past the end of what is mapped."""
        foreign = self.frame()
        address = foreign.get_address()
        for target in (address, 0, 0x21000, AT - 1, AT + 2 * PAGE):
            assert self.transfer(target, PAGE) == (FAULT, 0), hex(target)
            assert self.fault() == (NOT_MAPPED, target), hex(target)
        assert self.transfer(AT + PAGE, PAGE + 1) == (FAULT, 0)
        assert self.fault() == (NOT_MAPPED, AT + 2 * PAGE)
        foreign.map_io(0x5000, Rights.READ, io_space=self.space)
        assert self.transfer(0x5000, 1) == (FAULT, 0)
        assert self.fault() == (WRITE_DENIED, 0x5000)
        try:
            self.frame().map_io(AT, io_space=self.space)
        except DeleteFirst:
            return address
        raise AssertionError("two frames are mapped at one address")

    def loses_them(self) -> None:
        """Unmap, delete and revoke: the next transfer faults."""
        cnode = self.task.cnode
        unmapped, deleted = self.frame(), self.frame()
        block = self.task.memory.allocate(ObjectType.UNTYPED, 12)
        revoked = Frame(self.task.slots.allocate())
        Untyped(block.start).retype(ObjectType.FRAME, 12, cnode, revoked.cptr)
        ends = {
            unmapped: unmapped.unmap,
            deleted: lambda: cnode.delete(deleted.cptr),
            revoked: lambda: cnode.revoke(block.start),
        }
        for number, (frame, end) in enumerate(ends.items()):
            target = 0x10000 + number * PAGE
            frame.map_io(target, io_space=self.space)
            assert self.transfer(target, PAGE) == (DONE, PAGE)
            end()
            assert self.transfer(target, PAGE) == (FAULT, 0)
            assert self.fault() == (NOT_MAPPED, target)

    def is_seen(self) -> None:
        """The driver has the frame mapped, and sees what its device writes, also after it has lost a mapping of it."""
        frame, target = self.frame(), 0x20000
        frame.map_io(target, io_space=self.space)
        first = self.map_copy(frame, MAPPING_BASE)
        before = self.memory(MAPPING_BASE)
        assert before == bytes(PAGE)
        assert self.transfer(target, PAGE) == (DONE, PAGE)
        data = self.memory(MAPPING_BASE)
        assert data.count(0) < PAGE // 8
        self.task.cnode.delete(first.cptr)
        assert self.transfer(target, PAGE // 2) == (DONE, PAGE // 2)
        self.map_copy(frame, MAPPING_BASE + PAGE)
        now = self.memory(MAPPING_BASE + PAGE)
        assert now[: PAGE // 2] != data[: PAGE // 2]
        assert now[PAGE // 2 :] == data[PAGE // 2 :]
        frame.unmap()
        assert self.transfer(target, PAGE) == (FAULT, 0)
        assert self.memory(MAPPING_BASE + PAGE) == now

    def map_copy(self, frame: Frame, address: int) -> Frame:
        copy = Frame(self.task.slots.allocate())
        self.task.cnode.copy(copy.cptr, self.task.cnode, frame.cptr)
        copy.map(address, Rights.READ, vspace=VSpace(Slot.VSPACE))
        return copy

    def memory(self, address: int) -> bytes:
        return Mapping(address, PAGE).read(0, PAGE)

    def frame(self) -> Frame:
        return Frame(self.task.memory.allocate(ObjectType.FRAME, 12).start)

    def transfer(self, address: int, length: int) -> tuple[int, int]:
        """Let the device fill memory; waits for its interrupt. Returns its status and how many bytes it has written."""
        ports, base = self.ports, self.base
        ports.out32(base + ADDRESS_LOW, address & 0xFFFF_FFFF)
        ports.out32(base + ADDRESS_HIGH, address >> 32)
        ports.out32(base + LENGTH, length)
        ports.out8(base + CONTROL, GO | INTERRUPT)
        while not self.task.notification.wait() & self.signal:
            pass
        status = ports.in8(base + STATUS)
        ports.out8(base + STATUS, DONE | FAULT)
        self.interrupt.ack()
        return status, ports.in32(base + COUNT)

    def fault(self) -> tuple[int, int]:
        """Kind and address of the last fault."""
        ports, base = self.ports, self.base
        return ports.in8(base + FAULT_KIND), ports.in32(base + FAULT_HIGH) << 32 | ports.in32(base + FAULT_LOW)

    def say(self, text: str) -> None:
        device = self.task.environment.devices["uart"]
        uart = IOPort(device.io_port)
        for byte in text.encode():
            while not uart.in8(device.first_port + LINE_STATUS) & TRANSMITTER_EMPTY:
                pass
            uart.out8(device.first_port, byte)
