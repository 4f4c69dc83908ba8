"""Which fault hits what, and when: the same for the same seed, system and options."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from libsel4py.description import DeviceType, Restart, System

HANG_MS: Final = 5_000  # longer than any heartbeat: who is supervised is killed before
SLOW_MS: Final = (50, 500)
LOST_FRAMES: Final = (1, 40)
FAILED_REQUESTS: Final = (1, 3)


class Fault(Enum):
    """What can be done to a system."""

    KILL = "kill"  # a task's process is killed
    HANG = "hang"  # a task does nothing any more
    SLOW = "slow"  # a task gets half of the time
    CORRUPT_MESSAGE = "corrupt-message"  # a bit of a task's message area changes
    BITFLIP = "bitflip"  # a bit of a task's mapped frames changes
    DROP_IRQ = "drop-irq"  # a device's interrupt does not come
    DISK_ERROR = "disk-error"  # a disk's requests fail
    NET_LOSS = "net-loss"  # an interface's frames are lost
    KILL_KERNEL = "kill-kernel"  # the kernel's process is killed


@dataclass(frozen=True, slots=True)
class Injection:
    """One fault: ``at`` seconds after the start. ``target`` is a task's or a device's name, empty for the kernel."""

    number: int
    at: float
    fault: Fault
    target: str
    details: Mapping[str, int] = field(default_factory=dict)


class NoTarget(ValueError):
    """A system has nothing that such a fault could hit."""


def targets_of(system: System, fault: Fault, chosen: tuple[str, ...] = ()) -> tuple[str, ...]:
    """What a fault may hit, in the description's order: of ``chosen``, if it names something.

    Without a choice these are the servers, which are started again whenever they end (`restart = "always"`), the disks,
    the network interfaces, and the devices that interrupt.
    """
    if fault is Fault.KILL_KERNEL:
        return ("",)
    if fault in _DEVICES:
        found = [device.name for device in system.devices if device.type in _DEVICES[fault]]
    elif chosen:
        found = [task.name for task in system.tasks]
    else:
        found = [task.name for task in system.tasks if task.restart is Restart.ALWAYS and not task.essential]
    return tuple(name for name in found if not chosen or name in chosen)


_DEVICES: Final[dict[Fault, tuple[DeviceType, ...]]] = {
    Fault.DISK_ERROR: (DeviceType.VIRTIO_BLOCK,),
    Fault.NET_LOSS: (DeviceType.VIRTIO_NET,),
    Fault.DROP_IRQ: (DeviceType.VIRTIO_BLOCK, DeviceType.VIRTIO_NET, DeviceType.UART),
}


def schedule(
    system: System, faults: tuple[Fault, ...], rate: float, seed: int, chosen: tuple[str, ...] = ()
) -> Iterator[Injection]:
    """Faults without end, ``rate`` a second on average, at random times (a Poisson process).

    Raises:
        NoTarget: nothing of the system can be hit by one of the faults.
    """
    targets = {fault: targets_of(system, fault, chosen) for fault in faults}
    for fault, found in targets.items():
        if not found:
            raise NoTarget(f"nothing in {system.name} can be hit by {fault.value}; {_remedy(system, fault)}")
    return _draw(targets, rate, random.Random(seed))


def _remedy(system: System, fault: Fault) -> str:
    names = targets_of(system, fault)
    if fault in _DEVICES:
        return f"leave it out, or name one of its devices: {', '.join(names) or 'it has none'}"
    return f"tasks that are started again: {', '.join(names) or 'it has none'}"


def _draw(targets: Mapping[Fault, tuple[str, ...]], rate: float, chance: random.Random) -> Iterator[Injection]:
    at, number, faults = 0.0, 0, tuple(targets)
    while True:
        at += chance.expovariate(rate)
        fault = chance.choice(faults)
        yield Injection(number, at, fault, chance.choice(targets[fault]), _details(fault, chance))
        number += 1


def _details(fault: Fault, chance: random.Random) -> dict[str, int]:
    match fault:
        case Fault.HANG:
            return {"ms": HANG_MS}
        case Fault.SLOW:
            return {"ms": chance.randint(*SLOW_MS)}
        case Fault.CORRUPT_MESSAGE:
            return {"bit": chance.getrandbits(32)}
        case Fault.BITFLIP:
            return {"place": chance.getrandbits(32), "bit": chance.getrandbits(40)}
        case Fault.DROP_IRQ:
            return {"count": 1}
        case Fault.DISK_ERROR:
            return {"count": chance.randint(*FAILED_REQUESTS)}
        case Fault.NET_LOSS:
            return {"count": chance.randint(*LOST_FRAMES)}
        case _:
            return {}
