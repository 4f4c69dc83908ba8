"""The clock device's back end: the event loop's timer, set to the clock's deadline whenever that changes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from hw.devices.bus import IoBus
from hw.devices.clock import Clock


class ClockTimer:
    """Fires the clock in time. `changed` is called after it fired: its line may have been raised."""

    def __init__(self, loop: asyncio.AbstractEventLoop, bus: IoBus, clock: Clock, changed: Callable[[], None]) -> None:
        self._loop = loop
        self._bus = bus
        self._clock = clock
        self._changed = changed
        self._timer: asyncio.TimerHandle | None = None
        self.kicked()

    def kicked(self) -> None:
        """Set the timer to the clock's present deadline."""
        self.close()
        deadline = self._clock.deadline()
        if deadline is not None:
            # The loop counts in milliseconds and may be early by one: rounding up saves a second look.
            self._timer = self._loop.call_later(deadline / 1e6, self._fire)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _fire(self) -> None:
        self._timer = None
        self._bus.change(self._clock, self._clock.fire)
        self.kicked()
        self._changed()
