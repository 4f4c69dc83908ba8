"""How a description says that its threads are scheduled: by the host, or on virtual cores; and by which time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from deploy.problems import Problems, dotted
from deploy.reader import Table
from deploy.scanner import Path
from kerneld.layout import CORES_HIGH
from libsel4py.description import Device, DeviceType

HOST, STRICT, VIRTUAL = "host", "strict", "virtual"
STEP_DEFAULT_US: Final = 10
STEP_LOW_US, STEP_HIGH_US = 1, 1_000_000
_IN_TIME: Final = (DeviceType.UART, DeviceType.CLOCK, DeviceType.ENTROPY)


@dataclass(frozen=True, slots=True)
class Scheduling:
    """``cores``: virtual cores; 0: the host schedules. ``step_us``: of virtual time a call; 0: time is the host's."""

    cores: int = 0
    step_us: int = 0


def read_scheduling(table: Table) -> Scheduling:
    """The keys scheduling, cores, clock and step of a table."""
    strict = table.string("scheduling", HOST, (HOST, STRICT)) == STRICT
    cores = table.integer("cores", 1, 1, CORES_HIGH)
    virtual = table.string("clock", HOST, (HOST, VIRTUAL)) == VIRTUAL
    step = table.duration("step", STEP_DEFAULT_US, STEP_LOW_US, STEP_HIGH_US)
    if not strict:
        for key in filter(table.has, ("cores", "clock", "step")):
            table.report(key, "is there, and the host schedules", "add scheduling = 'strict', or leave it out")
        return Scheduling()
    if not virtual and table.has("step"):
        table.report("step", "is of virtual time alone", "add clock = 'virtual'")
    if virtual and cores > 1:
        table.report("clock", f"is 'virtual' with {cores} cores", "what happens at once the host orders: use cores = 1")
        return Scheduling(cores)
    return Scheduling(cores, step if virtual else 0)


def check_devices(scheduling: Scheduling, devices: tuple[Device, ...], problems: Problems) -> None:
    """By virtual time a device is waited for no time at all, so those that take some are refused."""
    if not scheduling.step_us:
        return
    for device in devices:
        if device.type not in _IN_TIME:
            path = ("machine", "devices", device.name)
            finding = f"{device.name} is a {device.type.value} device, which takes the host's time"
            problems.add(path, finding, "use clock = 'host', or leave it out: virtual time does not wait for it")


def check_cores(scheduling: Scheduling, chosen: dict[Path, int], problems: Problems) -> None:
    """Tasks run on cores that there are. ``chosen``: by the tasks' places in the description."""
    for path, core in chosen.items():
        if core and core >= scheduling.cores:
            finding = f"{dotted(path)} runs on core {core} of {scheduling.cores}, counted from 0"
            problems.add((*path, "core"), finding, "use a lower one, or say scheduling = 'strict' and cores = 2")
