"""Time on virtual cores: virtual, which goes by steps and jumps, or the host's, by which slices and domains' turns end.

Virtual time goes on by a step at each system call (`cores/virtual_time.py`), and here to the next event while no thread
is ready: to where a clock device fires, or to the turn of a domain that somebody waits for. So nothing ever waits for
time to pass. Of all devices the clock alone lives by it; what others do comes when the host has done it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from hw.devices.bus import IoBus
from hw.devices.clock import STATUS_FIRED, Clock
from kerneld.cores import entering, virtual_time
from kerneld.kernel import Kernel

SHORTEST_US: Final = 1000  # between two looks of the host's timer, which counts in milliseconds


class CoreTime(Protocol):
    """What the kernel's loop tells of its work."""

    def passed(self) -> None:
        """A transaction was carried out: time may have gone by, and others may run."""
        ...

    def idle(self) -> bool:
        """Nothing has come. Whether that was changed."""
        ...

    def close(self) -> None: ...


class NoCores:
    """A machine without virtual cores: the host shares out time."""

    def passed(self) -> None:
        return None

    def idle(self) -> bool:
        return False

    def close(self) -> None:
        return None


class VirtualAlarms:
    """When to look at whose budget, by virtual time: in the place of `BudgetAlarms`. Transactions take what is due.

    Args:
        due_us: when to look at a context, in microseconds of the kernel's clock.
    """

    def __init__(self, due_us: Callable[[int], int]) -> None:
        self._due_us = due_us
        self._times: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._times)

    def watch(self, context: int) -> None:
        self._times[context] = self._due_us(context)

    def look_now(self, context: int) -> None:
        self._times[context] = 0

    def forget(self, context: int) -> None:
        self._times.pop(context, None)

    def close(self) -> None:
        return None

    def next_us(self) -> int | None:
        """When the first one is due."""
        return min(self._times.values(), default=None)

    def take_due(self, now_us: int) -> list[int]:
        """The contexts that are to be looked at, and have no alarm from now on (`virtual_time.take_due`)."""
        return virtual_time.take_due(self._times, now_us)


class VirtualTime:
    """Steps and jumps, for one virtual core.

    Args:
        settle: carries out what a transaction has told, and says `passed`.
    """

    def __init__(self, kernel: Kernel, bus: IoBus, alarms: VirtualAlarms, settle: Callable[[], None]) -> None:
        self._kernel = kernel
        self._bus = bus
        self._alarms = alarms
        self._settle = settle
        self._clocks = [device for device in bus.devices.values() if isinstance(device, Clock)]

    def passed(self) -> None:
        """Let clocks fire, and look at budgets, whose time has come."""
        for clock in self._clocks:
            if clock.deadline() == 0:
                self._bus.change(clock, clock.fire)
        now, due = self._kernel.core.now(), self._alarms.next_us()
        if due is not None and due <= now:
            self._kernel.pass_time(now)  # no time passes, but a transaction looks
            self._settle()

    def idle(self) -> bool:
        """Where no thread is ready, go on to the next event."""
        if not self._kernel.is_idle:
            return False
        core = self._kernel.core
        times = [core.now() + left for left in map(self._left_us, self._clocks) if left is not None]
        times += [time for time in (entering.next_look_us(core), self._alarms.next_us()) if time is not None]
        if not times:
            return False
        self._kernel.pass_time(min(times))
        self._settle()
        return True

    def close(self) -> None:
        return None

    def _left_us(self, clock: Clock) -> int | None:
        """Until it fires; None where nobody would see it: it has fired before, and its driver has not looked since."""
        return None if clock.state.status & STATUS_FIRED else clock.deadline()


class HostTime:
    """The event loop's timer, set to the end of a slice, or of a domain's turn, that others wait for.

    Args:
        settle: carries out what a transaction has told.
    """

    def __init__(self, kernel: Kernel, loop: asyncio.AbstractEventLoop, settle: Callable[[], None]) -> None:
        self._kernel = kernel
        self._loop = loop
        self._settle = settle
        self._timer: asyncio.TimerHandle | None = None
        self._set_to: int | None = None
        self._used: dict[int, int] = {}  # what those had used who ran at the last look

    def passed(self) -> None:
        core = self._kernel.core
        due = entering.next_look_us(core)
        if due == self._set_to or (due is not None and self._set_to is not None and self._set_to <= due):
            return  # one that is early looks again
        self.close()
        if due is not None:
            self._set_to = due
            self._timer = self._loop.call_later(max(due - core.now(), SHORTEST_US) / 1e6, self._look)

    def idle(self) -> bool:
        return False

    def close(self) -> None:
        self._set_to = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = self._set_to = None
        self._used = self._kernel.look_at_slices(self._used)
        self._settle()


def core_time(
    kernel: Kernel,
    bus: IoBus,
    loop: asyncio.AbstractEventLoop,
    alarms: VirtualAlarms | None,
    settle: Callable[[], None],
) -> CoreTime:
    """As RAM says that the machine was booted. ``alarms``: where time is virtual."""
    if alarms is not None:
        return VirtualTime(kernel, bus, alarms, settle)
    return HostTime(kernel, loop, settle) if kernel.core.kernel.cores else NoCores()
