"""A device's registers in its memory: each load and store is one access of the device's, as at its I/O ports.

    registers = Registers(self.task.environment.devices["disk"])
    if registers.load(0x000) != 0x74726976: ...
    registers.store(0x070, 0)

The device's description says ``maps_registers = true``; its manual page says what is where: byte N of the page is
what is at port ``first_port + N``. Rules: an access has 1, 2 or 4 bytes and is aligned. By the mapping anything that
makes such an access will do (an item of a memoryview or of a numpy array); what makes another one (a slice, 8 bytes,
an addition in place) is a fault of the thread. What ctypes stores it loads first. Each access is a system call, so
what is hot goes by ports in one `Batch`.
"""

from __future__ import annotations

from types import TracebackType
from typing import Final

from libsel4py.abi import Rights
from libsel4py.dataspace import DataSpace
from libsel4py.environment import Device
from libsel4py.mapping import Mapping
from libsel4py.task import Task

PAGE_BYTES: Final = 4096


class Registers:
    """The page of a device's registers, mapped. A context manager that closes it.

    Attributes:
        mapping: where this task sees it. memory: its data space, to be shared with another task, or revoked.

    Raises:
        ValueError: the description does not say that they are in memory. Others as `DataSpace.attach`.
    """

    def __init__(self, device: Device, task: Task | None = None, rights: Rights = Rights.READ | Rights.WRITE) -> None:
        if device.memory_bytes != PAGE_BYTES:
            raise ValueError("the device has no page of registers; give it maps_registers = true in the description")
        self.memory = DataSpace.of_device(device, PAGE_BYTES, task)
        try:
            self.mapping: Mapping = self.memory.attach(rights)
        except BaseException:
            self.memory.close()
            raise

    def load(self, offset: int, width: int = 4) -> int:
        """The register at ``offset``, of ``width`` bytes.

        Raises:
            ValueError: no register can be there. VMFault: the page was taken away.
        """
        return self.mapping.load_register(offset, width)

    def store(self, offset: int, value: int, width: int = 4) -> None:
        """Set a register. Raises as `load`; TypeError: it may be read alone. OverflowError: the value is too large."""
        self.mapping.store_register(offset, width, value)

    def close(self) -> None:
        """Nothing is accessed by this any more, and the page can be had again. Raises BufferError: a view is in use."""
        self.memory.close()

    def __enter__(self) -> Registers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
