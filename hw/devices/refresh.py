"""The framebuffer's back end: its refresh, 60 times a second, for as long as there is a picture to be shown."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Final

from hw.devices.bus import IoBus
from hw.devices.framebuffer import Framebuffer

RATE: Final = 60


class Refresh:
    """Shows the next picture in time. `changed` is called after that: the device's line may have been raised."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, bus: IoBus, device: Framebuffer, changed: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._bus = bus
        self._device = device
        self._changed = changed
        self._timer: asyncio.TimerHandle | None = None
        self.kicked()

    def kicked(self) -> None:
        """Wait for the next refresh, if there is something to show."""
        if self._timer is None and self._device.is_busy:
            self._timer = self._loop.call_at(math.floor(self._loop.time() * RATE + 1) / RATE, self._refresh)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _refresh(self) -> None:
        self._timer = None
        self._bus.change(self._device, self._device.show)
        self._changed()
