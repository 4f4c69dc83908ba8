"""A driver whose devices' registers are in its memory, by the scene that its description names. Ends with 0 if all went
as it should.
"""

from __future__ import annotations

import ctypes
import itertools

from libsel4py import Component, component
from libsel4py.abi import Rights
from libsel4py.capabilities import IOPort, IOSpace
from libsel4py.environment import Device
from libsel4py.errors import InvalidCapability, VMFault
from libsel4py.registers import Registers
from libsel4py.virtio import BLOCK, VirtioPorts
from tests.system.images.failing import failing_with

MAGIC = int.from_bytes(b"virt", "little")
PAGE = 4096
DISK_BYTES = 64 << 10
DRIVER_FEATURES, STATUS, CONFIGURATION = 0x020, 0x070, 0x100
RBR, FCR, MCR, LSR, SCR = 0, 2, 4, 5, 7  # of the UART
FIFO, LOOP_BACK, DATA_READY = 1, 0x10, 1
ROUNDS = 500  # between what it says


@component
class Main(Component):
    def run(self) -> int:
        self.devices = self.task.environment.devices
        getattr(self, str(self.task.environment.configuration["scene"]))()
        return 0

    def _port(self, name: str) -> tuple[IOPort, int]:
        device = self.devices[name]
        return IOPort(device.io_port), device.first_port

    # --- what they are

    def same(self) -> None:
        """They are what is at the ports, in each width, by whatever makes such an access."""
        registers = Registers(self.devices["disk"])
        port, first = self._port("disk")
        assert [registers.load(offset) for offset in (0, 4, 8)] == [MAGIC, 2, BLOCK]
        for width, read in ((1, port.in8), (2, port.in16), (4, port.in32)):
            for offset in range(0, 0x200, width):
                assert registers.load(offset, width) == read(first + offset), (width, offset)
        sectors = registers.load(CONFIGURATION) | registers.load(CONFIGURATION + 4) << 32
        assert sectors == DISK_BYTES // 512
        assert (registers.load(0x200), registers.load(PAGE - 4)) == (0, 0)  # behind the last one
        registers.store(0x200, 1)
        VirtioPorts(port, first).begin(BLOCK, wanted=0)
        status = port.in32(first + STATUS)
        assert registers.load(STATUS) == status != 0
        with memoryview(registers.mapping).cast("I") as words:
            assert (words[0], words[STATUS // 4]) == (MAGIC, status)
            words[STATUS // 4] = 0
        assert port.in32(first + STATUS) == 0
        assert ctypes.c_uint32.from_address(registers.mapping.address).value == MAGIC
        import numpy

        numbers = numpy.frombuffer(registers.mapping, "<u4")
        assert numbers[1] == 2
        numbers[STATUS // 4] = 1
        assert registers.load(STATUS) == 1
        del numbers

    def scratch(self) -> None:
        """What one task's life has stored, the next one finds: it is the device's."""
        registers = Registers(self.devices["serial"])
        found = registers.load(SCR, 1)
        registers.store(SCR, found + 1, 1)
        print(f"found {found}", flush=True)
        while True:
            self.task.notification.wait()

    def loops(self) -> None:
        """A UART that hears itself gives back each byte once: no store and no load is lost, or done twice."""
        registers = Registers(self.devices["serial"])
        registers.store(FCR, FIFO, 1)
        registers.store(MCR, LOOP_BACK, 1)
        for number in itertools.count():
            if number % ROUNDS == 0:
                print(f"round {number}", flush=True)
            byte = number * 7 & 255
            registers.store(RBR, byte, 1)
            assert registers.load(RBR, 1) == byte, number
            assert not registers.load(LSR, 1) & DATA_READY, number

    # --- what may not be done

    def taken(self) -> None:
        """Whatever ends the frame, or its mapping, takes the registers away at once; and they can be had again."""
        device = self.devices["disk"]
        for end in (self._unmap, self._delete, self._revoke):
            registers = Registers(device)
            mapping = registers.mapping
            assert mapping.load_register(0, 4) == MAGIC
            end(registers)
            with failing_with(VMFault):
                mapping.load_register(0, 4)
            with failing_with(VMFault):
                mapping.store_register(STATUS, 4, 1)
            self.task.cnode.revoke(device.memory)
        for _ in range(2):
            with Registers(device) as registers:
                assert registers.load(STATUS) == 0
            with failing_with(ValueError, match="no register"):
                registers.load(STATUS)

    def _unmap(self, registers: Registers) -> None:
        registers.memory.frames[0].unmap()

    def _delete(self, registers: Registers) -> None:
        self.task.cnode.delete(registers.memory.frames[0].cptr)

    def _revoke(self, registers: Registers) -> None:
        self.task.cnode.revoke(self.devices["disk"].memory)

    def refused(self) -> None:
        """What is no access to a register, what the mapping does not allow, what no device may reach."""
        with Registers(self.devices["disk"], rights=Rights.READ) as registers:
            assert registers.load(0) == MAGIC
            with failing_with(TypeError, match="read-only"):
                registers.store(STATUS, 1)
        with Registers(self.devices["disk"]) as registers:
            mapping = registers.mapping
            for access in (
                lambda: mapping.read(0, 16),
                lambda: mapping.write(STATUS, b"\1\0\0\0"),
                lambda: mapping.load_word(0),
                lambda: mapping.store_word(STATUS, 1),
            ):
                with failing_with(VMFault):
                    access()
            assert registers.load(STATUS) == 0
            with failing_with(InvalidCapability):
                registers.memory.frames[0].map_io(0, io_space=IOSpace(self.devices["disk"].io_space))
        for none in (self.devices["rng"], Device()):
            with failing_with(ValueError, match="maps_registers = true"):
                Registers(none)

    def slices(self) -> None:
        """Sixteen bytes at once, and nobody who would resolve the fault."""
        print(bytes(memoryview(Registers(self.devices["disk"]).mapping)[:16]))
