"""Which fault hits what, and when: the same for the same seed, system and options."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from kerneld.fault_kinds import Fault
from libsel4py.description import DeviceType, Restart, System

HANG_MS: Final = 5_000  # longer than any heartbeat: who is supervised is killed before
SLOW_MS: Final = (50, 500)
LOST_FRAMES: Final = (1, 40)
FAILED_REQUESTS: Final = (1, 3)

# Who was hit by one of these may answer anything, and so may whoever stands on it.
CHANGES_BITS: Final = frozenset({Fault.BITFLIP, Fault.CORRUPT_MESSAGE})


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
    the network interfaces, and the devices that interrupt a task. Bits change of those servers only that root has
    granted nothing: a supervisor that was told something else than the description gives up, or ends, whom it likes.
    """
    if fault is Fault.KILL_KERNEL:
        return ("",)
    if fault in _DEVICES:
        driven = {assigned.device for task in system.tasks for assigned in task.devices}
        found = [each.name for each in system.devices if each.type in _DEVICES[fault] and each.name in driven]
    elif chosen:
        found = [task.name for task in system.tasks]
    else:
        servers = [task for task in system.tasks if task.restart is Restart.ALWAYS and not task.essential]
        found = [task.name for task in servers if not (task.grants and fault in CHANGES_BITS)]
    return tuple(name for name in found if not chosen or name in chosen)


_DEVICES: Final[dict[Fault, tuple[DeviceType, ...]]] = {
    Fault.DISK_ERROR: (DeviceType.VIRTIO_BLOCK,),
    Fault.NET_LOSS: (DeviceType.VIRTIO_NET,),
    Fault.DROP_IRQ: (
        DeviceType.VIRTIO_BLOCK,
        DeviceType.VIRTIO_NET,
        DeviceType.UART,
        DeviceType.CLOCK,
        DeviceType.FRAMEBUFFER,
    ),
}


def standing_on(system: System, hit: Collection[str]) -> frozenset[str]:
    """The tasks that were hit, and all that use them, directly or by others: whose answers a changed bit can spoil."""
    found = set(hit)
    while True:
        users = {task.name for task in system.tasks for use in (*task.uses, *task.names) if use.task in found}
        if users <= found:
            return frozenset(found)
        found |= users


def schedule(
    system: System,
    faults: Mapping[Fault, float],
    rate: float,
    seed: int,
    chosen: tuple[str, ...] = (),
) -> Iterator[Injection]:
    """Faults without end, ``rate`` a second on average, at random times (a Poisson process), each kind by its weight.

    Raises:
        NoTarget: nothing of the system can be hit by one of the faults.
    """
    targets = {fault: targets_of(system, fault, chosen) for fault in faults}
    for fault, found in targets.items():
        if not found:
            raise NoTarget(f"nothing in {system.name} can be hit by {fault.value}; {_remedy(system, fault)}")
    return _draw(targets, tuple(faults.values()), rate, random.Random(seed))


def _remedy(system: System, fault: Fault) -> str:
    names = targets_of(system, fault)
    if fault in _DEVICES:
        return f"leave it out, or name one of its devices: {', '.join(names) or 'it has none'}"
    return f"tasks that are started again: {', '.join(names) or 'it has none'}"


def _draw(
    targets: Mapping[Fault, tuple[str, ...]], weights: tuple[float, ...], rate: float, chance: random.Random
) -> Iterator[Injection]:
    at, number, faults = 0.0, 0, tuple(targets)
    while True:
        at += chance.expovariate(rate)
        (fault,) = chance.choices(faults, weights)
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
