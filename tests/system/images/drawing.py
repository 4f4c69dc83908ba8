"""A driver of a framebuffer, by the scene that its description names: what it may do with its device's memory, and what
it may not. Ends with 0 if all went as it should.
"""

from __future__ import annotations

import ctypes

from libsel4py import Component, RemoteError, ServerDied, component, uses
from libsel4py.abi import CapType, ObjectType, Rights
from libsel4py.capabilities import TCB, CNode, Frame, IOSpace, Untyped, VSpace
from libsel4py.dataspace import DataSpace
from libsel4py.environment import Slot
from libsel4py.errors import IllegalOperation, InvalidArgument, InvalidCapability, KernelError, NotEnoughMemory, VMFault
from libsel4py.framebuffer import MAGIC, Framebuffer
from libsel4py.lowlevel.identify import identify
from libsel4py.mapping import Mapping, map_memory
from tests.system.images.failing import failing_with
from tests.system.images.lent import Lent

PAGE = 4096
READ, WRITE, BOTH = Rights.READ, Rights.WRITE, Rights.READ | Rights.WRITE
SIZES = {ObjectType.CNODE: 1, ObjectType.SCHED_CONTEXT: 8}
COUNT = 100  # in a picture: lives that have stored there


@component
class Main(Component):
    service = uses(Lent)

    def run(self) -> int:
        self.device = self.task.environment.devices["screen"]
        self.untyped = Untyped(self.device.memory)
        getattr(self, str(self.task.environment.configuration["scene"]))()
        return 0

    # --- as its driver

    def draws(self) -> None:
        """By memoryview, from C, and with numpy; what is presented is shown."""
        screen = Framebuffer(self.device)
        assert (screen.width, screen.height, screen.pictures, screen.shown) == (64, 48, 2, 0)
        with memoryview(screen.pixels) as pixels:
            at = screen.place(1)
            pixels[at : at + 256] = b"\1\2\3\0" * 64
        ctypes.memset(screen.pixels.address + screen.place(1, 1), 0x55, 256)
        import numpy

        numbers = numpy.frombuffer(screen.pixels, dtype="<u4")
        numbers[screen.place(1, 2) // 4 : screen.place(1, 3) // 4] = 0xFF8800
        del numbers
        before = screen.presented
        screen.present(1)
        while not self._signal():
            pass
        assert screen.acknowledge()
        assert (screen.shown, screen.presented) == (1, before + 1)
        with failing_with(ValueError, match="no line 0 of picture 2"):
            screen.present(2)
        print("drawn", flush=True)
        while True:
            self.task.notification.wait()

    def lives(self) -> None:
        """Each life finds what the last one has left, in the picture and in what the device counts."""
        screen = Framebuffer(self.device)
        found = screen.pixels.read(COUNT, 1)[0]
        screen.pixels.write(COUNT, bytes([found + 1]))
        print(f"found {found}", flush=True)
        while True:
            self.task.notification.wait()

    def stores(self) -> None:
        """To registers that it may only read, by C."""
        registers = DataSpace.of_device(self.device, PAGE).attach(READ)
        ctypes.memset(registers.address, 1, 1)
        raise AssertionError("what is read-only was written")

    def _signal(self) -> bool:
        return bool(self.task.notification.wait() & self.device.signal)

    # --- what it may not

    def rights(self) -> None:
        """What a capability permits, and what of that is asked for: a store, or a load, without a right faults."""
        frame = self._registers()
        for held in (READ, WRITE, BOTH, Rights.NONE):
            copy = Frame(self.task.slots.allocate())
            self.task.cnode.copy(copy.cptr, self.task.cnode, frame.cptr, held)
            for asked in (READ, WRITE, BOTH, Rights.NONE):
                memory = self._map(copy, asked)
                may = held & asked
                self._try(memory, bool(may & READ), bool(may & READ) and bool(may & WRITE))
                copy.unmap()
                self._try(memory, False, False)
                self.task.addresses.free(memory.address)
            self.task.delete(copy)
        memory = self._map(frame, BOTH)
        memory.write(0, b"x")
        frame.map(memory.address, READ, vspace=VSpace(Slot.VSPACE))
        self._try(memory, True, False)
        frame.map(memory.address, BOTH, vspace=VSpace(Slot.VSPACE))
        self._try(memory, True, True)

    def taken(self) -> None:
        """Whatever ends the frame, or its mapping, takes the registers away at once, and leaves them as they are."""
        cnode = self.task.cnode
        ends = {
            "unmap": lambda frame: frame.unmap(),
            "delete": lambda frame: cnode.delete(frame.cptr),
            "revoke": lambda frame: cnode.revoke(self.untyped.cptr),
        }
        for number, end in enumerate(ends.values()):
            frame = self._registers()
            memory = self._map(frame, BOTH)
            assert memory.read(0, 4) == MAGIC.to_bytes(4, "little")
            assert memory.read(PAGE - 1, 1) == bytes([number])
            memory.write(PAGE - 1, bytes([number + 1]))
            end(frame)
            self._try(memory, False, False)
            cnode.revoke(self.untyped.cptr)

    def refused(self) -> None:
        """Device memory holds frames and untyped memory; its frames are no trap frames, and no device's to reach."""
        cnode, slot = self.task.cnode, self.task.slots.allocate()
        assert identify(self.untyped.cptr).is_device
        for kind in ObjectType:
            if kind in (ObjectType.FRAME, ObjectType.UNTYPED):
                continue
            with failing_with(InvalidArgument):
                self.untyped.retype(kind, SIZES.get(kind, 12), cnode, slot)
        with failing_with(NotEnoughMemory):
            self.untyped.retype(ObjectType.FRAME, self.device.memory_bytes.bit_length(), cnode, slot)
        self.untyped.retype(ObjectType.UNTYPED, 12, cnode, slot)
        with failing_with(InvalidArgument):
            Untyped(slot).retype(ObjectType.ENDPOINT, 0, cnode, self.task.slots.allocate())
        frame = self._frame()
        assert (identify(frame.cptr).type, identify(frame.cptr).is_device) == (CapType.FRAME.name, True)
        space = IOSpace(self.task.environment.devices["rng"].io_space)
        with failing_with(InvalidCapability):
            frame.map_io(0, io_space=space)
        thread = TCB(self.task.memory.allocate(ObjectType.TCB).start)
        with failing_with(IllegalOperation):
            thread.configure(CNode(Slot.CNODE), 0, VSpace(Slot.VSPACE), 0, 0x20_1000_0000, frame)
        with failing_with(KernelError):
            thread.set_ipc_buffer(0x20_1000_0000, frame)

    # --- with another task

    def lends(self) -> None:
        """Who is lent pictures draws in them, reads them alone, or has lost them."""
        screen = Framebuffer(self.device)
        shared = screen.memory.share()
        self.service.keep(shared)
        self.service.fill(7)
        assert self.service.count_up() == screen.memory.size // 4
        screen.memory.drop(shared)
        assert screen.pixels.read(0, 8) == b"\x08\7\7\7" * 2
        screen.memory.revoke()
        with failing_with(RemoteError, match=r"VMFault.*no memory at 0x"):
            self.service.read(0, 1)
        assert screen.pixels.read(0, 8) == b"\x08\7\7\7" * 2
        self.service.keep(screen.memory.share(READ))
        assert self.service.read(0, 4) == b"\x08\7\7\7"
        assert self.service.try_write(0, b"x") == "TypeError"
        with failing_with(ServerDied):
            self.service.store_in_c(0)
        assert screen.pixels.read(0, 8) == b"\x08\7\7\7" * 2

    # --- means

    def _registers(self) -> Frame:
        """The last page of the memory, of which nothing else is made."""
        cnode = self.task.cnode
        half = self.device.memory_bytes.bit_length() - 2
        for bits in range(half, 11, -1):
            frame = Frame(self.task.slots.allocate())
            self.untyped.retype(ObjectType.FRAME, bits, cnode, frame.cptr)
        last = Frame(self.task.slots.allocate())
        self.untyped.retype(ObjectType.FRAME, 12, cnode, last.cptr)
        return last

    def _frame(self) -> Frame:
        frame = Frame(self.task.slots.allocate())
        self.untyped.retype(ObjectType.FRAME, 12, self.task.cnode, frame.cptr)
        return frame

    def _map(self, frame: Frame, rights: Rights) -> Mapping:
        address = self.task.addresses.allocate(PAGE)
        frame.map(address, rights, vspace=VSpace(Slot.VSPACE))
        return map_memory(address, PAGE, True)

    def _try(self, memory: Mapping, readable: bool, writable: bool) -> None:
        """Access it by guarded C: a right that is lacking is the host's own fault of the access."""
        if readable:
            assert memory.read(4, 4) == (64).to_bytes(4, "little")
        else:
            with failing_with(VMFault):
                memory.read(4, 4)
        if writable:
            memory.write(PAGE - 8, b"x")
        else:
            with failing_with(VMFault):
                memory.write(PAGE - 8, b"x")
