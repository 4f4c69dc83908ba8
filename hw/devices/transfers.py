"""The entropy device's back end: makes its transfers, a chunk each turn of the event loop, so that others come between.

No timer and no descriptor: a transfer is asked for by a port write, and found again in RAM by a kernel that was
started again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from hw.devices.bus import IoBus
from hw.devices.entropy import Entropy


class Transfers:
    """`changed` is called after each chunk: the device's line may have been raised."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, bus: IoBus, device: Entropy, changed: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._bus = bus
        self._device = device
        self._changed = changed
        self._soon: asyncio.Handle | None = None
        self.kicked()

    def kicked(self) -> None:
        """Go on with the transfer that is under way, if there is one."""
        if self._soon is None and self._device.is_busy:
            self._soon = self._loop.call_soon(self._chunk)

    def close(self) -> None:
        if self._soon is not None:
            self._soon.cancel()
            self._soon = None

    def _chunk(self) -> None:
        self._soon = None
        self._bus.change(self._device, self._device.transfer)
        self.kicked()
        self._changed()
