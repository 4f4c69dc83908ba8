# mypy: disable-error-code="empty-body"
"""A task that takes what is sent to it out of line, and lets others look; and tries all that a window's key permits."""

from __future__ import annotations

from collections.abc import Callable

from libsel4py import Endpoint, Interface, Word, component, uses
from libsel4py.errors import InvalidMessage, UnknownMethod
from libsel4py.interfaces.windows import BadWindow, MemoryWindow, ProvidedWindow, Windows
from libsel4py.mapping import map_memory


class Taker(Interface):
    def take(self, parcel: Word) -> Word:
        """Take a parcel; where it is seen."""

    def read(self, address: Word, length: int) -> bytes: ...

    def write(self, address: Word, data: bytes) -> None: ...

    def drop(self) -> None:
        """Delete what was taken last."""

    def use(self, window: Endpoint) -> str:
        """Do with another task's window what its capability permits, and all that a provider has no business with;
        what of it was done. The capability stays."""

    def hide(self) -> str:
        """Hide, by the capability of `use`, what the window shows now; "" or why not."""


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

    def use(self, window: Endpoint) -> str:
        self.task.receive.unclaimed.discard(window.cptr)
        self._other = window
        whole = MemoryWindow(window)
        attempts: dict[str, Callable[[], object]] = {
            "provided": whole.provided,
            "resize": lambda: whole.resize(4096),
            "zero": whole.zero,
            "copy": lambda: whole.send(self.task.name, False),
            "move": lambda: whole.send(self.task.name, True),
            "delete": whole.delete,
        }
        done = []
        for name, attempt in attempts.items():
            try:
                attempt()
            except (BadWindow, InvalidMessage, UnknownMethod):
                continue
            done.append(name)
        return " ".join(done)

    def hide(self) -> str:
        try:
            ProvidedWindow(self._other).hide()
        except BadWindow as error:
            return str(error)
        return ""
