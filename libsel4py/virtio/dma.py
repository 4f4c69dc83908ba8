"""Memory that a device reaches: data spaces, mapped at addresses of the device's IOSpace.

Rules. A data space's frames are mapped in a row, so that any part of it is one segment. They are mapped by copies of
their capabilities (one maps at one place), which go with the mapping; whoever takes the memory back takes it from the
device as well. An address is given out again only after its mapping is gone. One thread at a time.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Final

from libsel4py.abi import IO_MAPPING_END, Rights
from libsel4py.capabilities import Frame, IOSpace
from libsel4py.dataspace import DataSpace
from libsel4py.lowlevel.vspace import AddressAllocator
from libsel4py.task import Task

READ_WRITE: Final = Rights.READ | Rights.WRITE
FIRST_ADDRESS: Final = 1 << 32  # so that a driver that mixes its addresses up meets no mapping


class DmaMemory:
    """A data space as the device sees it: ``size`` bytes from ``address`` on."""

    def __init__(self, address: int, size: int, copies: list[Frame]) -> None:
        self.address = address
        self.size = size
        self.copies = copies


class DmaSpace:
    """An IOSpace of a task's, and which addresses of it are in use."""

    def __init__(self, task: Task, io_space: IOSpace) -> None:
        self._task = task
        self._io_space = io_space
        self._addresses = AddressAllocator(FIRST_ADDRESS, IO_MAPPING_END, ())

    def map(self, space: DataSpace, rights: Rights = READ_WRITE) -> DmaMemory:
        """Let the device reach a data space; ``rights`` that it lacks are left out.

        Raises:
            NotEnoughMemory: the IOSpace has as many mappings as its size has room for. OutOfSlots. OutOfAddresses.
            KernelError: the kernel refused it otherwise; nothing is mapped then.
        """
        address = self._addresses.allocate(space.size)
        memory = DmaMemory(address, space.size, [])
        with ExitStack() as undo:
            undo.callback(self.unmap, memory)
            at = address
            for frame, size in zip(space.frames, space.frame_bytes, strict=True):
                copy = self._copy(frame)
                memory.copies.append(copy)
                copy.map_io(at, int(rights & space.rights), io_space=self._io_space)
                at += size
            undo.pop_all()
        return memory

    def withdraw(self, memory: DmaMemory) -> None:
        """The device reaches it no more when this returns. What was revoked meanwhile is no error.

        Its addresses are given to nothing else before `unmap`: for memory of which the device has requests still.
        """
        for copy in memory.copies:
            self._task.delete(copy)
        memory.copies.clear()

    def unmap(self, memory: DmaMemory) -> None:
        """Withdraw it, and let other memory have its addresses: the device has no requests for it any more."""
        self.withdraw(memory)
        self._addresses.free(memory.address)

    def _copy(self, frame: Frame) -> Frame:
        slot = self._task.slots.allocate()
        try:
            self._task.cnode.copy(slot, self._task.cnode, frame.cptr, READ_WRITE)
        except BaseException:
            self._task.slots.free(slot)
            raise
        return Frame(slot)
