# mypy: disable-error-code="empty-body"
"""A task that takes what is sent to it out of line, and lets others look."""

from __future__ import annotations

from libsel4py import Interface, Word, component, uses
from libsel4py.interfaces.windows import MemoryWindow, Windows
from libsel4py.mapping import map_memory


class Taker(Interface):
    def take(self, parcel: Word) -> Word:
        """Take a parcel; where it is seen."""

    def read(self, address: Word, length: int) -> bytes: ...

    def write(self, address: Word, data: bytes) -> None: ...

    def drop(self) -> None:
        """Delete what was taken last."""


@component
class Main(Taker):
    windows = uses(Windows)

    def take(self, parcel: int) -> Word:
        self._window = MemoryWindow(self.windows.take(parcel))
        return self._window.bounds()[0]

    def read(self, address: int, length: int) -> bytes:
        return map_memory(address, length, False).read(0, length)

    def write(self, address: int, data: bytes) -> None:
        map_memory(address, len(data), True).write(0, data)

    def drop(self) -> None:
        self._window.delete()
