"""Virtual time: it goes by a step at each system call, and from one event to the next while nobody runs.

So computing takes no time, and what happens does not depend on how fast the host is. The step is charged to the
thread that makes the system call. For one core alone: what two threads do at the same time, the host orders.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from kerneld.core import Core
from kerneld.records import KernelRecord, Tcb

STEP_US: Final = 10  # of a system call, where nobody says something else


def is_virtual(kernel: KernelRecord) -> bool:
    return bool(kernel.step_us)


def clocks(kernel: KernelRecord) -> tuple[Callable[[int], int], Callable[[], int]]:
    """What a kernel reads instead of the host's: a thread's processor time by its TCB's address, and the time."""
    return lambda address: Tcb(kernel.ram, address).virtual_us, lambda: kernel.virtual_us


def pass_step(core: Core, tcb: Tcb) -> None:
    """The thread makes a system call."""
    step = core.kernel.step_us
    core.kernel.virtual_us = core.kernel.virtual_us + step
    tcb.virtual_us = tcb.virtual_us + step


def take_due(times: dict[int, int], now_us: int) -> list[int]:
    """Take those out whose time has come: the earliest first, and of the same time that of the lowest address."""
    due = sorted((time, address) for address, time in times.items() if time <= now_us)
    for _, address in due:
        del times[address]
    return [address for _, address in due]


def pass_until(core: Core, time_us: int) -> None:
    """Nobody runs until then. A time that is past changes nothing."""
    core.kernel.virtual_us = max(core.kernel.virtual_us, time_us)
