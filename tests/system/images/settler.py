# mypy: disable-error-code="empty-body"
"""A task that takes pages of sigma0, and writes its name all over them."""

from __future__ import annotations

from libsel4py import Interface, component, uses
from libsel4py.abi import Rights
from libsel4py.capabilities import Frame
from libsel4py.interfaces.sigma0 import Sigma0
from libsel4py.mapping import Mapping, map_memory
from libsel4py.task import Task


class Settler(Interface):
    def take(self, address: int, bits: int) -> bool:
        """Ask for a page by its address; it is written to."""

    def take_any(self, bits: int) -> int:
        """Ask for any page, and write to it; its address, or -1."""

    def first_bytes(self, address: int) -> bytes:
        """What stands in a page that it took."""


class Land:
    """Pages that a task has taken, by physical address, all of them mapped."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self.pages: dict[int, Mapping] = {}

    def settle(self, address: int, bits: int, frame: Frame) -> None:
        """Map a page and write the task's name at the start of each 4096 bytes of it."""
        self.pages[address] = mapping = self.map(frame, 1 << bits)
        for offset in range(0, 1 << bits, 4096):
            mapping.write(offset, self._task.name.encode())

    def map(self, frame: Frame, size: int) -> Mapping:
        address = self._task.addresses.allocate(size)
        frame.map(address, Rights.READ | Rights.WRITE, vspace=self._task.vspace)
        return map_memory(address, size, True)


@component
class Main(Settler):
    sigma0 = uses(Sigma0)

    def start(self) -> None:
        self.land = Land(self.task)

    def take(self, address: int, bits: int) -> bool:
        frame = self.sigma0.get_page(address, bits)
        if frame is None:
            return False
        self.land.settle(address, bits, frame)
        return True

    def take_any(self, bits: int) -> int:
        found = self.sigma0.get_any(bits)
        if found is None:
            return -1
        self.land.settle(found[0], bits, found[1])
        return found[0]

    def first_bytes(self, address: int) -> bytes:
        return self.land.pages[address].read(0, 8)
